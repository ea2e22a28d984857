//! The shared cache where it is more than one server: a master that sentinels name, which dies or is replaced, and a cluster, a node of
//! which dies; over TLS as well.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dotward::config::SharedCacheSettings;
use dotward_faults::TestCa;
use tokio::task::JoinHandle;

use crate::shared_store::{Instance, Store, keep_asking, program, shared, spawn, write_identity};
use crate::support::within;

/// Servers take seconds to agree on who is master, and who failed meanwhile is left alone for up to half a minute.
const AGREEMENT: Duration = Duration::from_secs(180);

fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}

/// What servers are told so that they speak TLS and nothing else.
struct Tls {
    arguments: Vec<String>,
    roots: PathBuf,
    _directory: tempfile::TempDir,
}

impl Tls {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = TestCa::new().unwrap();
        let [certificate, key, roots] = write_identity(&ca, directory.path());
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (certificate, key) = (text(&certificate), text(&key));
        // A node of a cluster shows the others who it is.
        let client = ca.client("node.test").unwrap();
        let own = ["client.pem", "client-key.pem"].map(|name| directory.path().join(name));
        std::fs::write(&own[0], client.chain_pem()).unwrap();
        std::fs::write(&own[1], client.key_pem()).unwrap();
        let arguments = [
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-client-cert-file", &text(&own[0])],
            ["--tls-client-key-file", &text(&own[1])],
            ["--tls-ca-cert-file", &text(&roots)],
            ["--tls-auth-clients", "no"],
            ["--tls-replication", "yes"],
            ["--tls-cluster", "yes"],
        ];
        Self {
            arguments: arguments.concat().into_iter().map(str::to_owned).collect(),
            roots,
            _directory: directory,
        }
    }
}

/// What a server is told so that it listens at a port.
fn listening(port: u16, tls: Option<&Tls>) -> Vec<String> {
    let option = if tls.is_some() {
        "--tls-port"
    } else {
        "--port"
    };
    let mut arguments = vec![option.to_owned(), port.to_string()];
    arguments.extend(["--bind".to_owned(), "127.0.0.1".to_owned()]);
    arguments.extend(tls.into_iter().flat_map(|tls| tls.arguments.clone()));
    arguments
}

fn start(arguments: &[String], more: &[&str]) -> Store {
    let arguments = arguments.iter().map(String::as_str);
    let all: Vec<&str> = arguments.chain(more.iter().copied()).collect();
    Store::start(&all).unwrap()
}

fn settings(url: &str, tls: Option<&Tls>) -> SharedCacheSettings {
    SharedCacheSettings {
        ca_file: tls.map(|tls| tls.roots.clone()),
        ..shared(url)
    }
}

/// Waits for what somebody else does, while all else goes on.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < AGREEMENT, "{what}");
        tokio::task::yield_now().await;
    }
}

/// What a server says; none while it is being made master, because then its clients are let go.
fn said<T: redis::FromRedisValue>(store: &Store, words: &[&str]) -> Option<T> {
    let mut connection = store.connect()?;
    let command = redis::Cmd::new().arg(words).take();
    command.query(&mut connection).ok()
}

fn keys(store: &Store) -> usize {
    said(store, &["DBSIZE"]).unwrap_or_default()
}

fn is_master(store: &Store) -> bool {
    let role: Option<Vec<redis::Value>> = said(store, &["ROLE"]);
    role.is_some_and(|role| role[0] == redis::Value::BulkString(b"master".to_vec()))
}

fn follows(store: &Store) -> bool {
    let role: Option<String> = said(store, &["INFO", "replication"]);
    role.is_some_and(|role| role.contains("master_link_status:up"))
}

/// Clients who ask names nobody asked before, and whose every question has to be answered well.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(instance: &Instance) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let client = |who| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(keep_asking(instance.chain.udp(), who, stop, asked))
        };
        let clients = (0..8).map(client).collect();
        Self {
            stop,
            asked,
            clients,
        }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            within(client).await.unwrap();
        }
        assert!(self.asked.load(Ordering::Relaxed) > 0);
    }
}

/// Waits until the shared cache is asked and takes writes, from now on.
async fn works(instance: &Instance) {
    let before = instance.stats().await["writes"].as_u64().unwrap();
    let more = |it: &serde_json::Value| it["writes"].as_u64().unwrap() > before;
    let works = instance.see(|it| it["state"] == "asked" && more(it));
    tokio::time::timeout(AGREEMENT, works).await.unwrap();
}

/// A master, its replica, and a sentinel that knows both.
struct Watched {
    master: Store,
    replica: Store,
    sentinel: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.sentinel.kill());
        drop(self.sentinel.wait());
    }
}

impl Watched {
    async fn start(tls: Option<&Tls>) -> Option<Self> {
        let program = program()?;
        let (first, port) = (free_port(), free_port());
        let master = start(&listening(first, tls), &[]);
        let of = ["--replicaof", "127.0.0.1", &first.to_string()];
        let replica = start(&listening(free_port(), tls), &of);
        until("the replica follows", || follows(&replica)).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sentinel.conf");
        let own = listening(port, tls);
        let own = own.chunks(2).map(|pair| pair.join(" ").split_off(2));
        let watched = [
            format!("dir {}", directory.path().display()),
            format!(
                "unixsocket {}",
                directory.path().join("sentinel.sock").display()
            ),
            format!("sentinel monitor main 127.0.0.1 {first} 1"),
            "sentinel down-after-milliseconds main 500".to_owned(),
            "sentinel failover-timeout main 2000".to_owned(),
        ];
        let mut lines: Vec<String> = own.chain(watched).collect();
        if tls.is_some() {
            lines.push("port 0".to_owned());
        }
        std::fs::write(&file, lines.join("\n")).unwrap();
        let arguments = [file.to_str().unwrap(), "--sentinel"].map(str::to_owned);
        let watched = Self {
            master,
            replica,
            sentinel: spawn(program, &arguments),
            port,
            directory,
        };
        until("the sentinel knows the replica", || {
            let replicas = watched.tell_sentinel(&["REPLICAS", "main"]);
            matches!(replicas, Ok(redis::Value::Array(replicas)) if replicas.len() == 1)
        })
        .await;
        Some(watched)
    }

    fn tell_sentinel(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        self.say_to_sentinel(&[&["SENTINEL"], words].concat())
    }

    fn say_to_sentinel(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let url = format!(
            "unix://{}",
            self.directory.path().join("sentinel.sock").display()
        );
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::Cmd::new().arg(words).query(&mut connection)
    }
}

#[tokio::test]
async fn a_master_that_dies_under_load_is_replaced_by_whom_the_sentinels_name_and_no_question_is_lost()
 {
    let Some(mut watched) = Watched::start(None).await else {
        return;
    };
    // One of the sentinels is away.
    let url = format!(
        "redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main",
        watched.port
    );
    let instance = Instance::start(settings(&url, None));
    let load = Load::on(&instance);
    works(&instance).await;
    watched.master.kill();
    instance.wait_for(|it| it["state"] != "asked").await;
    works(&instance).await;
    load.end().await;
    assert!(is_master(&watched.replica));
}

#[tokio::test]
async fn a_master_that_is_replaced_while_it_lives_is_not_written_to_any_more() {
    let Some(watched) = Watched::start(None).await else {
        return;
    };
    let url = format!("redis+sentinel://127.0.0.1:{}/main", watched.port);
    let instance = Instance::start(settings(&url, None));
    let load = Load::on(&instance);
    works(&instance).await;
    // It has to have heard of the replica lately.
    until("the sentinel agrees", || {
        watched.tell_sentinel(&["FAILOVER", "main"]).is_ok()
    })
    .await;
    until("the replica is master", || is_master(&watched.replica)).await;
    let before = keys(&watched.replica);
    until("it gets new keys", || keys(&watched.replica) > before).await;
    works(&instance).await;
    load.end().await;
}

#[tokio::test]
async fn sentinels_and_their_master_are_asked_over_tls() {
    if program().is_none() {
        return;
    }
    let tls = Tls::new();
    let watched = Watched::start(Some(&tls)).await.unwrap();
    let url = format!("rediss+sentinel://127.0.0.1:{}/main", watched.port);
    let instance = Instance::start(settings(&url, Some(&tls)));
    let load = Load::on(&instance);
    works(&instance).await;
    load.end().await;
    assert!(keys(&watched.master) > 0);

    let distrusting = Instance::start(settings(&url, None));
    let load = Load::on(&distrusting);
    let is_told = |it: &serde_json::Value| it["state"] == "left alone" && it["fault"].is_string();
    let stats = distrusting.wait_for(is_told).await;
    load.end().await;
    let fault = stats["fault"].as_str().unwrap().to_owned();
    assert!(
        fault.contains("ertificate") && stats["writes"] == 0,
        "{stats}"
    );
}

#[tokio::test]
async fn passwords_of_servers_and_of_sentinels_come_from_files() {
    let (Some(watched), Some((nodes, ports))) = (Watched::start(None).await, cluster(None).await)
    else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let [password_file, sentinel_password_file] = ["password", "sentinel-password"].map(|name| {
        let file = directory.path().join(name);
        std::fs::write(&file, format!("{name} horse\n")).unwrap();
        Some(file)
    });
    let servers = [&watched.master, &watched.replica];
    for server in nodes.iter().chain(servers) {
        for option in ["masterauth", "requirepass"] {
            let words = ["CONFIG", "SET", option, "password horse"];
            said::<redis::Value>(server, &words).unwrap();
        }
    }
    watched
        .tell_sentinel(&["SET", "main", "auth-pass", "password horse"])
        .unwrap();
    let password = [
        "ACL",
        "SETUSER",
        "default",
        "resetpass",
        ">sentinel-password horse",
    ];
    watched.say_to_sentinel(&password).unwrap();

    let sentinel = format!("redis+sentinel://127.0.0.1:{}/main", watched.port);
    let cluster = format!("redis+cluster://127.0.0.1:{}", ports[0]);
    for (url, sentinel_password_file) in [(sentinel, sentinel_password_file), (cluster, None)] {
        let told = SharedCacheSettings {
            password_file: password_file.clone(),
            sentinel_password_file,
            ..shared(&url)
        };
        let instance = Instance::start(told);
        let load = Load::on(&instance);
        works(&instance).await;
        load.end().await;
        let untold = Instance::start(shared(&url));
        let load = Load::on(&untold);
        let is_told =
            |it: &serde_json::Value| it["state"] == "left alone" && it["fault"].is_string();
        let stats = untold.wait_for(is_told).await;
        load.end().await;
        assert_eq!((&stats["hits"], &stats["misses"]), (&0.into(), &0.into()));
        let fault = stats["fault"].as_str().unwrap().to_owned();
        assert!(fault.to_lowercase().contains("auth"), "{url}: {fault}");
    }
}

/// Three nodes that share the keys, and a replica of the last one.
async fn cluster(tls: Option<&Tls>) -> Option<(Vec<Store>, Vec<u16>)> {
    program()?;
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let buses: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let node = |place: usize| {
        let bus = buses[place].to_string();
        let more = [
            ["--cluster-enabled", "yes"],
            ["--cluster-port", &bus],
            ["--cluster-node-timeout", "1000"],
            ["--cluster-replica-validity-factor", "0"],
        ];
        start(&listening(ports[place], tls), &more.concat())
    };
    let nodes: Vec<Store> = (0..4).map(node).collect();
    let say = |place: usize, words: &[&str]| -> Option<String> {
        said(&nodes[place], &[&["CLUSTER"], words].concat())
    };
    let ranges = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
    for (place, range) in ranges.iter().enumerate() {
        say(place, &["ADDSLOTSRANGE", range.0, range.1]).unwrap();
        say(place, &["SET-CONFIG-EPOCH", &(place + 1).to_string()]).unwrap();
    }
    for place in 1..4 {
        let (port, bus) = (ports[place].to_string(), buses[place].to_string());
        say(0, &["MEET", "127.0.0.1", &port, &bus]).unwrap();
    }
    until("the nodes know each other", || {
        (0..4).all(|place| {
            say(place, &["INFO"]).is_some_and(|info| {
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            })
        })
    })
    .await;
    let last = say(2, &["MYID"]).unwrap();
    until("the last one is known to who follows it", || {
        say(3, &["REPLICATE", &last]).is_some()
    })
    .await;
    until("it follows", || follows(&nodes[3])).await;
    Some((nodes, ports))
}

#[tokio::test]
async fn a_node_of_a_cluster_that_dies_under_load_is_replaced_and_no_question_is_lost() {
    let Some((mut nodes, ports)) = cluster(None).await else {
        return;
    };
    // Two of the three are named; one of these is away from the beginning.
    let url = format!("redis+cluster://127.0.0.1:1,127.0.0.1:{}", ports[1]);
    let instance = Instance::start(settings(&url, None));
    let load = Load::on(&instance);
    works(&instance).await;
    let masters = [0, 1, 2];
    until("each has keys", || {
        masters.iter().all(|place| keys(&nodes[*place]) > 0)
    })
    .await;
    nodes[2].kill();
    until("the replica is master", || is_master(&nodes[3])).await;
    let before = keys(&nodes[3]);
    until("it gets new keys", || keys(&nodes[3]) > before).await;
    works(&instance).await;
    load.end().await;
    nodes.remove(2);

    // What one has learned, another finds, wherever it lies.
    let known = nodes.iter().flat_map(|node| {
        let all: Vec<String> = said(node, &["KEYS", "dotward:*"]).unwrap();
        all.into_iter().take(20)
    });
    let names: Vec<String> = known
        .map(|key| key.rsplit(':').next().unwrap().to_owned())
        .collect();
    let other = Instance::start(settings(&url, None));
    let mut hits = 0;
    within(async {
        while hits < 20 {
            for name in &names {
                assert!(other.chain.ask(name).await.is_good());
            }
            hits = other.stats().await["hits"].as_u64().unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_is_away_at_the_start_and_dies_altogether_is_found_again() {
    let Some((mut nodes, ports)) = cluster(None).await else {
        return;
    };
    for node in &mut nodes {
        node.kill();
    }
    let url = format!(
        "redis+cluster://127.0.0.1:{},127.0.0.1:{}",
        ports[0], ports[1]
    );
    let instance = Instance::start(settings(&url, None));
    let load = Load::on(&instance);
    for _ in 0..2 {
        instance.wait_for(|it| it["state"] == "left alone").await;
        for node in &mut nodes {
            node.restart();
        }
        works(&instance).await;
        for node in &mut nodes {
            node.kill();
        }
    }
    load.end().await;
}

#[tokio::test]
async fn the_nodes_of_a_cluster_are_asked_over_tls() {
    if program().is_none() {
        return;
    }
    let tls = Tls::new();
    let (nodes, ports) = cluster(Some(&tls)).await.unwrap();
    let url = format!("rediss+cluster://127.0.0.1:{}", ports[0]);
    let instance = Instance::start(settings(&url, Some(&tls)));
    let load = Load::on(&instance);
    works(&instance).await;
    until("each has keys", || nodes.iter().all(|node| keys(node) > 0)).await;
    load.end().await;
}
