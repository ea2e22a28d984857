//! The reference of all settings, `docs/settings.md`, generated from the table.

use super::{Group, OLDER_NAMES, SETTINGS, Setting};

const HEAD: &str = "\
# Settings

Generated from the table of settings; after a change there, run

```console
BLESS=1 cargo test -p dotward --test config
```

## Precedence

Weakest first: default, file, environment (`DOTWARD_*`), command line. A stronger source replaces what weaker
ones set, lists included. In the environment a comma or white space separates the elements of a list, and an
empty variable counts as not set. Names of older proxies stand just below the names of their kind: an older variable
below every `DOTWARD_*` variable, an older option below every option but above the environment.

All faults are reported together, and the program ends with exit code 2. `dotward check` reports the
same and does nothing else; `dotward check --show-origin` prints each value and where it came from. `dotward config example`
prints a file with every key.

A changed value is applied by what the column *Changed by* says: `reload` (SIGHUP or `dotward reload`, see [control.md](control.md#reload)) or
`restart`. All of them are read again in either case; what the command line and the environment say is as it was at the start.
";

const SPEC: &str = "\
## SPEC: an upstream on one line

| Spelling | Meaning |
|---|---|
| `quad9` | a preset, see `dotward upstream list` |
| `tls://NAME@ADDR[,ADDR…][:PORT]` | connect to these addresses; the certificate must carry NAME. IPv6 in brackets; the port of the last address is that of all which name none; 853 if none does |
| `tls://NAME[:PORT]` | the same, the addresses found through `bootstrap` |
| `tls://IP[:PORT]` | the certificate must carry the address itself |
| `IP@PORT#NAME`, `IP:PORT#NAME`, `IP#NAME` | as unbound and systemd-resolved write it |
| `IP`, `IP:PORT` | an address of a preset: verified by the name of the preset. Any other address is refused, because nothing says whose certificate it must show |
| `…?pin=sha256/BASE64` | one of these public keys (SHA-256 of the SubjectPublicKeyInfo), joined by `&`. An address without a name (`IP?pin=…`, `tls://IP?pin=…`, `tls://@ADDR,ADDR?pin=…`) is verified by the pin alone; `tls://IP@IP?pin=…` demands both |
| `…?ca_file=PATH` | roots for this upstream only |
| `udp://IP[:PORT]`, `tcp://IP[:PORT]` | unencrypted, port 53 if none is given; of routes, and of `query --via`. Everywhere else they are refused: queries would leave the machine unencrypted |

When an upstream is given by name only and `bootstrap` is not set, the upstreams that have an address are asked for it,
because they are trusted already; if there are none, `cloudflare`, verified by the bundled roots. Upstreams that serve
routes only are not asked, and the address of one whose name a route claims is not looked for that way: write it down, or set
`bootstrap`. This program never asks itself, nor the resolver of the host, which may well be this program; an upstream
that is one of its own listening addresses is refused.

`ca_file`, `client_cert` and `client_key` of `[tls]` hold for every upstream and bootstrap entry that does not say otherwise.
";

const ROUTES: &str = "\
## Routes: names sent to other upstreams

```toml
[[upstream]]
preset = \"quad9\"               # asked about whatever no route claims

[[upstream]]
name     = \"office\"            # named by a route and without a tier: serves that route only
address  = [\"10.1.0.53\"]
tls_name = \"dns.corp.example\"
ca_file  = \"/etc/dotward/corp-ca.pem\"

[[route]]
suffix   = [\"corp.example\", \"10.0.0.0/8\"]
to       = [\"office\"]

[[route]]
suffix   = [\"lab.corp.example\"]
to       = [\"udp://10.2.0.53\", \"udp://10.2.0.54\"]
strategy = \"ordered\"
```

* A suffix holds the name itself and all names below. The longest suffix that holds a name decides; letter case does not
  matter, and `corp.example` does not hold `notcorp.example`. A network stands for the reverse names of its addresses.
* When no upstream of a route can answer, the answer is SERVFAIL, and no other upstream learns the name. With `fallback = true`
  the general upstreams are asked then: after the route's own have failed, refused, or been silent for a second. NXDOMAIN is an answer.
* What is asked: local records first, then routes, then special-use names, then the general upstreams. So a route for
  `local` or `192.168.0.0/16` is all it takes to have those names asked there; `privacy.forward_special` sends them to the general upstreams.
* Without encryption each query has a socket and a random port of its own; a truncated answer is asked for again over TCP,
  and passed on as it is where nobody listens.
* `--route` and `DOTWARD_ROUTE` replace the routes of the file. `--upstream` replaces its general upstreams; routes may still name those.
* `dotward explain NAME` shows how a name would be handled and why, and sends nothing.
";

const OLDER: &str = "\
## Names of older proxies

They work as they did, so that moving over changes nothing; each used one is told its replacement once, at start.
Addresses and names of a preset become that preset. An unknown address becomes `tls://IP`: its certificate must carry the
address. A port without an address is that of `cloudflare`, or of both loopback addresses.

| From | Name | Meaning | Write instead |
|---|---|---|---|
";

const DOT_PORT: &str = "
`-d` and `--debug` of A mean what they mean here. C listens on all addresses, over UDP and TCP, and so does this program
when a name of C is set and no `BIND_*`.

`DOT_PORT` is decided by its company, never by its value. With `DNS_SERVER_IP` or `DNS_SERVER_PORT` and no name of B it is the
listening port; with `DOT_ADDRESS`, `BIND_ADDRESS`, `BIND_PORT` or `PROTO` and no name of C it is the upstream's. With both kinds, or
alone (`LOG_LEVEL` is too common to count), the program refuses to start. `DOTWARD_COMPAT=b` or `=c` settles it and
ignores the names of the other one; `=off` ignores all older variables and refuses the older options.
";

/// The whole page.
pub fn manual() -> String {
    let mut text = HEAD.to_owned();
    for group in Group::ALL {
        let rows: Vec<_> = SETTINGS
            .iter()
            .filter(|setting| setting.group == group)
            .collect();
        if !rows.is_empty() {
            text.push_str(&format!("\n## {}\n\n", group.title()));
            text.push_str(
                "| File | Option | Variable | Value | Default | Changed by | Meaning |\n",
            );
            text.push_str("|---|---|---|---|---|---|---|\n");
            rows.into_iter()
                .for_each(|setting| text.push_str(&row(setting)));
        }
    }
    text.push('\n');
    text.push_str(SPEC);
    text.push('\n');
    text.push_str(ROUTES);
    text.push('\n');
    text.push_str(OLDER);
    for older in OLDER_NAMES {
        let (from, written) = (older.from, older.written());
        let line = format!(
            "| {from} | `{written}` | {} | `{}` |\n",
            older.meaning, older.instead
        );
        text.push_str(&line);
    }
    text.push_str(DOT_PORT);
    text
}

fn row(setting: &Setting) -> String {
    let code = |text: String| format!("`{text}`");
    let none = || "–".to_owned();
    let key = setting.key.map_or_else(none, |key| code(key.to_string()));
    let option = setting.flag.map_or_else(none, |flag| match setting.short {
        Some(short) => format!("`-{short}`, `--{flag}`"),
        None => code(format!("--{flag}")),
    });
    let variable = setting
        .variable
        .map_or_else(none, |variable| code(variable.to_owned()));
    let default = match setting.default {
        super::Default::Values(values) => code(values.join(",")),
        super::Default::Nothing(words) => words.to_owned(),
    };
    let value = match setting.many {
        true => format!("list of: {}", setting.kind.accepts()),
        false => setting.kind.accepts(),
    };
    let mut meaning = format!("{}.", setting.help);
    if !setting.detail.is_empty() {
        meaning = format!("{meaning} {}", setting.detail);
    }
    let change = setting.change.word();
    let cells = [
        key,
        option,
        variable,
        value,
        default,
        change.to_owned(),
        meaning,
    ];
    format!(
        "| {} |\n",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}
