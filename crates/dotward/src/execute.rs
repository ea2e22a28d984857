//! From the command line to the command, and from its end to the exit code.
//!
//! Promises: results on standard output, everything else on standard error; 0 good, 1 the operation failed, 2 wrong usage or
//! configuration.
//!
//! Deliberately absent: what commands do.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::cli::{self, CheckArgs, Command, Invocation, QueryArgs, RemoteArgs, SetupArgs};
use crate::commands::choose::{Clear, Named, NotChosen};
use crate::commands::demo::DemoError;
use crate::commands::{
    check, choose, demo, doctor, explain, generated, healthcheck, list, query, remote, setup, show,
    survey, top, version,
};
use crate::config::report::{Style, write_faults, write_warnings};
use crate::config::{Config, Disk, KeptFiles, Loaded, Refused, control_path, load, load_where};
use crate::plain::Screen;
use crate::privileges::FileUser;
use crate::reload::{self, ConfigSource, Trigger};
use crate::run::{Order, Proxy, StartError, StartFault};
use crate::unix_signals::{Meaning, UnixSignals};
use crate::{descriptors, logging, settings};

/// The operation was carried out.
const GOOD: u8 = 0;
/// The operation failed.
const FAILED: u8 = 1;
/// Wrong usage or configuration.
const WRONG: u8 = 2;

/// Does what the command line says and gives back the exit code.
pub fn execute(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let done = match cli::parse(arguments) {
        Ok(invocation) => command(&invocation),
        Err(error) => error
            .print()
            .map(|()| u8::try_from(error.exit_code()).unwrap_or(WRONG)),
    };
    match done {
        Ok(code) => code,
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => GOOD,
        Err(error) => failed(&Unfinished(error)),
    }
}

/// The system let a command down before its end; mostly it takes no more of the output.
#[derive(Debug)]
struct Unfinished(io::Error);

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        if matches!(self.0.kind(), FileTooLarge | QuotaExceeded | StorageFull) {
            f.write_str("cannot write to standard output: ")?;
        }
        self.0.fmt(f)
    }
}

impl std::error::Error for Unfinished {}

fn command(invocation: &Invocation) -> io::Result<u8> {
    if let Command::Top { every } = &invocation.command {
        return watch_it(invocation, *every);
    }
    let mut stdout = io::stdout().lock();
    let mut out = Screen(&mut stdout);
    let done = match &invocation.command {
        Command::Run => return serve(invocation),
        // It had its turn before the output was taken.
        Command::Top { .. } => GOOD,
        Command::Demo { listen } => match demo::run(&mut out, *listen) {
            Ok(()) => GOOD,
            Err(DemoError::Io(error)) => return Err(error),
            Err(DemoError::Start(StartError { faults })) => all_failed(&faults),
            Err(error) => failed(&error),
        },
        Command::Check(args) => check_it(invocation, args, &mut out.0)?,
        Command::Query(args) => ask(invocation, args, &mut out)?,
        Command::Explain(args) => match config(invocation)? {
            Some(config) => {
                explain::write_explanation(&mut out, &config, args)?;
                GOOD
            }
            None => WRONG,
        },
        Command::ConfigExample => {
            out.write_all(settings::example::example().as_bytes())?;
            GOOD
        }
        Command::UpstreamList { json } => {
            // The presets are known whatever is wrong with the configuration.
            let loaded = loaded(invocation).ok();
            let config = loaded.as_ref().map(|loaded| &loaded.config);
            list::write_list(&mut out, config, *json)?;
            GOOD
        }
        Command::ConfigShow { json } => show_config(invocation, *json, &mut out)?,
        Command::ConfigSchema => {
            writeln!(out, "{:#}", settings::schema::schema())?;
            GOOD
        }
        Command::UpstreamSurvey(args) => match chosen(invocation, surveyed(&args.specs))? {
            Some(config) => {
                let mut bar = bar();
                let bar = bar.as_mut().map(|it| it as &mut dyn Write);
                good_or_failed(survey::write_survey(&mut out, bar, &config, args)?)
            }
            None => WRONG,
        },
        Command::Doctor { json } => examine(invocation, *json, &mut out)?,
        Command::Setup(args) => set_up(invocation, args, &mut out)?,
        Command::Remote(args) => remote(invocation, args, &mut out)?,
        Command::Healthcheck => healthcheck(invocation)?,
        Command::Completions { shell } => {
            generated::write_completions(&mut out, *shell)?;
            GOOD
        }
        Command::Man { command } => match generated::write_man(&mut out, command.as_deref())? {
            true => GOOD,
            false => {
                let name = command.as_deref().unwrap_or_default();
                writeln!(
                    Screen(io::stderr().lock()),
                    "error: no command `{name}` has a manual page; `dotward -h` lists the commands"
                )?;
                WRONG
            }
        },
        Command::Version { json } => {
            version::write_version(&mut out, *json)?;
            GOOD
        }
    };
    out.flush()?;
    Ok(done)
}

fn check_it(invocation: &Invocation, args: &CheckArgs, out: &mut dyn Write) -> io::Result<u8> {
    let form = check::Form {
        show_origin: args.show_origin,
        json: args.json,
        style: style(io::stdout().is_terminal()),
    };
    Ok(match check::write_check(out, &loaded(invocation), form)? {
        true => GOOD,
        false => WRONG,
    })
}

fn serve(invocation: &Invocation) -> io::Result<u8> {
    let began = SystemTime::now();
    let files = Arc::new(KeptFiles::default());
    let loaded = load(&invocation.options, std::env::vars_os(), &*files);
    let Some(loaded) = told(loaded)? else {
        return Ok(WRONG);
    };
    let (config, file, in_force) = (loaded.config, loaded.file, loaded.in_force);
    let user = match FileUser::of(&config) {
        Ok(user) => user,
        Err(error) => return Ok(failed(&error)),
    };
    let log = match logging::start_as(user, &config.log) {
        Ok(log) => log,
        Err(error) => return Ok(failed(&error)),
    };
    if let Err(error) = descriptors::raise() {
        tracing::warn!(%error, "no more descriptors than the soft limit grants");
    }
    let options = invocation.options.clone();
    if let Some(file) = &file {
        // What it says now is what is asked for.
        files.forget(file);
    }
    let kept = Arc::clone(&files);
    let read = move |in_force| load_where(&options, std::env::vars_os(), &*kept, in_force);
    let source = ConfigSource {
        file,
        in_force,
        began,
        files,
        read: Arc::new(read),
    };
    let ended = Proxy::run(config, source, obey_signals);
    // What was logged comes before the last word.
    drop(log);
    Ok(match ended {
        Ok(_) => GOOD,
        Err(StartError { faults }) => all_failed(&faults),
    })
}

/// The first signal to end asks for an orderly end, the second one ends at once; HUP asks for a reload. The call itself, before the future is
/// waited for, makes signals ask instead of kill.
fn obey_signals(
    orders: watch::Sender<Order>,
    reload: reload::Handle,
) -> io::Result<impl Future<Output = ()>> {
    let signals = UnixSignals::listen()?;
    Ok(give_orders(signals, orders, reload))
}

async fn give_orders(
    mut signals: UnixSignals,
    orders: watch::Sender<Order>,
    reload: reload::Handle,
) {
    for order in [Order::Drain, Order::Abort] {
        let signal = loop {
            match signals.next().await {
                Meaning::Reload => reload.request(Trigger::Signal),
                Meaning::End(signal) => break signal,
            }
        };
        tracing::info!(signal, ?order, "ending");
        orders.send_replace(order);
    }
    // Dropping the sender would be an order too.
    std::future::pending::<()>().await;
}

fn ask(invocation: &Invocation, args: &QueryArgs, out: &mut dyn Write) -> io::Result<u8> {
    let named = Named {
        written: "--via",
        specs: args.via.as_slice(),
        clear: Clear::Allowed,
    };
    let Some(config) = chosen(invocation, named)? else {
        return Ok(WRONG);
    };
    Ok(match query::write_query(out, &config, args)? {
        true => GOOD,
        false => FAILED,
    })
}

/// 0 or 1 and nothing else: container engines keep 2 for themselves.
fn healthcheck(invocation: &Invocation) -> io::Result<u8> {
    let Some(config) = config(invocation)? else {
        return Ok(FAILED);
    };
    Ok(match healthcheck::healthcheck(&config) {
        Ok(()) => GOOD,
        Err(error) => failed(&error),
    })
}

/// Speaks to a running program.
fn remote(invocation: &Invocation, args: &RemoteArgs, out: &mut dyn Write) -> io::Result<u8> {
    let path = match socket(invocation)? {
        Ok(path) => path,
        Err(code) => {
            if args.json {
                let message =
                    "it is not known where the control socket is; standard error says why";
                remote::write_error(out, "configuration", message)?;
            }
            return Ok(code);
        }
    };
    let done = remote::run(out, &path, args);
    if let Err(error) = &done
        && args.json
        && let Some(kind) = error.kind()
    {
        remote::write_error(out, kind, &error.to_string())?;
    }
    match done {
        Ok(true) => Ok(GOOD),
        Ok(false) => Ok(FAILED),
        Err(remote::RemoteError::Output(error)) => Err(error),
        Err(error) if error.is_configuration() => {
            failed(&error);
            Ok(WRONG)
        }
        Err(error) => Ok(failed(&error)),
    }
}

fn show_config(invocation: &Invocation, json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let Some(loaded) = told(loaded(invocation))? else {
        return Ok(WRONG);
    };
    show::write_config(out, &loaded, json)?;
    Ok(GOOD)
}

fn examine(invocation: &Invocation, json: bool, out: &mut dyn Write) -> io::Result<u8> {
    let control = control_path(&invocation.options, std::env::vars_os(), &Disk);
    let control = control.ok().flatten();
    let mut bar = bar();
    let bar = bar.as_mut().map(|it| it as &mut dyn Write);
    let found = doctor::write_findings(out, bar, &loaded(invocation), control.as_deref(), json)?;
    Ok(good_or_failed(found))
}

fn set_up(invocation: &Invocation, args: &SetupArgs, out: &mut dyn Write) -> io::Result<u8> {
    let Some(config) = config(invocation)? else {
        return Ok(WRONG);
    };
    match setup::run(out, &config, args) {
        Ok(()) => Ok(GOOD),
        Err(setup::SetupError::Output(error)) => Err(error),
        Err(error) => Ok(failed(&error)),
    }
}

/// Where the running program is spoken to; the exit code when that cannot be known.
fn socket(invocation: &Invocation) -> io::Result<Result<PathBuf, u8>> {
    Ok(
        match control_path(&invocation.options, std::env::vars_os(), &Disk) {
            Ok(Some(path)) => Ok(path),
            Ok(None) => Err(failed(&remote::TurnedOff)),
            Err(refused) => {
                let mut err = io::stderr().lock();
                let style = style(io::stderr().is_terminal());
                write_faults(&mut err, &refused.faults, style)?;
                Err(WRONG)
            }
        },
    )
}

fn watch_it(invocation: &Invocation, every: Duration) -> io::Result<u8> {
    let path = match socket(invocation)? {
        Ok(path) => path,
        Err(code) => return Ok(code),
    };
    let colour = std::env::var_os("NO_COLOR").is_none();
    Ok(match top::run(&path, every, colour) {
        Ok(()) => GOOD,
        Err(error) => failed(&error),
    })
}

fn good_or_failed(good: bool) -> u8 {
    if good { GOOD } else { FAILED }
}

/// Where progress is shown: a terminal, or nowhere.
fn bar() -> Option<io::Stderr> {
    let err = io::stderr();
    err.is_terminal().then_some(err)
}

/// The configuration, or `None` after its faults were written.
fn config(invocation: &Invocation) -> io::Result<Option<Config>> {
    Ok(told(loaded(invocation))?.map(|loaded| loaded.config))
}

/// Those that are looked at, who have a certificate to show.
fn surveyed(specs: &[String]) -> Named<'_> {
    Named {
        written: "SPEC",
        specs,
        clear: Clear::Refused,
    }
}

/// The configuration with the upstreams that are named, or with its own when none is; `None` after what is wrong was written.
fn chosen(invocation: &Invocation, named: Named<'_>) -> io::Result<Option<Config>> {
    let Some(config) = config(invocation)? else {
        return Ok(None);
    };
    if named.specs.is_empty() {
        return Ok(Some(config));
    }
    let load = |options: &cli::Options| load(options, std::env::vars_os(), &Disk);
    let chosen = choose::choose(config, &invocation.options, named, load);
    match chosen {
        Ok(config) => Ok(Some(config)),
        Err(NotChosen::Unknown(why)) => {
            writeln!(Screen(io::stderr().lock()), "error: {why}")?;
            Ok(None)
        }
        Err(NotChosen::Refused(refused)) => Ok(told(Err(refused))?.map(|it| it.config)),
    }
}

/// What was loaded, after its warnings were written, or `None` after its faults were.
fn told(loaded: Result<Loaded, Refused>) -> io::Result<Option<Loaded>> {
    let mut err = io::stderr().lock();
    match loaded {
        Ok(loaded) => {
            write_warnings(&mut err, &loaded.warnings)?;
            Ok(Some(loaded))
        }
        Err(refused) => {
            write_warnings(&mut err, &refused.warnings)?;
            let style = style(io::stderr().is_terminal());
            write_faults(&mut err, &refused.faults, style)?;
            Ok(None)
        }
    }
}

fn loaded(invocation: &Invocation) -> Result<Loaded, Refused> {
    load(&invocation.options, std::env::vars_os(), &Disk)
}

fn style(terminal: bool) -> Style {
    Style::of_stream(terminal, std::env::var_os("NO_COLOR").is_some())
}

fn all_failed(faults: &[StartFault]) -> u8 {
    for fault in faults {
        failed(fault);
    }
    FAILED
}

fn failed(error: &dyn std::error::Error) -> u8 {
    // Nobody is left to be told that telling failed.
    drop(writeln!(Screen(io::stderr()), "error: {error}"));
    FAILED
}
