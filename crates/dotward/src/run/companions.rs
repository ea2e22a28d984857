//! What runs beside the workers on threads of its own: the admin listener, the control socket, the snapshot of the cache, the cache that several instances
//! share. None of it is needed to answer.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;

use dotward_core::cache::Cache;
use dotward_core::shared::SharedConfig;
use tokio::sync::{mpsc, watch};

use super::fault::AdminFault;
use super::{Drain, Order, Predecessor, Prepared, StartFault};
use crate::admin::{self, Admin, Board};
use crate::config::{BindRules, Config};
use crate::control::{self, ControlSocket, Desk, Facts};
use crate::group_names::GroupNames;
use crate::limits::{CONTROL_CONNECTIONS, SNAPSHOT_END};
use crate::listen::sockets;
use crate::plan;
use crate::post;
use crate::privileges::{self, Identity};
use crate::reload;
use crate::run::Listening;
use crate::sandbox;
use crate::service;
use crate::shared::{self, Place, Store};
use crate::snapshot::{self, Keeper, Snapshot};
use crate::unix_signals::StateAsked;
use crate::worker::Worker;

/// What they need that has to be there before anything is served.
#[derive(Debug, Default)]
pub(super) struct Provisions {
    admin: Option<TcpListener>,
    control: Option<ControlSocket>,
    store: Option<Store>,
}

impl Provisions {
    /// Where the admin listener is bound.
    pub(super) fn admin(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// Lets the user that the program becomes have what belongs to it.
    pub(super) fn give_to(&self, who: &Identity) {
        let Some(control) = &self.control else {
            return;
        };
        if let Err(error) = control.give_to(who.uid.as_raw(), who.gid.as_raw()) {
            tracing::warn!(
                path = %control.path().display(), %error,
                "the control socket stays root's: only root can use it"
            );
        }
    }

    /// Binds the admin listener and the control socket, and reads the files of the shared cache. Nobody is heard yet, and nothing that
    /// another process has is taken.
    pub(super) fn new(config: &Config, faults: &mut Vec<StartFault>) -> Self {
        let control = config.control.as_deref().map(|path| {
            if config.rules.takeover {
                ControlSocket::bind_beside(path)
            } else {
                ControlSocket::bind(path)
            }
        });
        let store = config.shared_cache.as_ref().map(Store::new);
        let admin = config.admin.and_then(|address| {
            let rules = BindRules {
                owner: privileges::owner_of_sockets(config).unwrap_or_default(),
                ..config.rules
            };
            let fault = |error| faults.push(StartFault::Admin(AdminFault::new(address, error)));
            admin::bind(address, rules).map_err(fault).ok()
        });
        Self {
            admin,
            control: control
                .transpose()
                .map_err(|error| faults.push(StartFault::Control(error)))
                .unwrap_or_default(),
            store: store
                .transpose()
                .map_err(|error| faults.push(StartFault::SharedCache(error)))
                .unwrap_or_default(),
        }
    }

    /// Hears who comes, in the place of another process where there is one. This cannot be taken back.
    pub(super) fn open(&mut self, config: &Config, faults: &mut Vec<StartFault>) {
        if let (Some(control), Some(path)) = (&mut self.control, config.control.as_deref())
            && config.rules.takeover
            && let Err(error) = control.take_place(path)
        {
            faults.push(StartFault::Control(error));
        }
        if let (Some(admin), Some(address)) = (&self.admin, config.admin)
            && let Err(error) = sockets::listen(admin)
        {
            faults.push(StartFault::Admin(AdminFault::new(address, error)));
        }
    }
}

/// All that is known about them before the workers start.
pub(super) struct Plans {
    provisions: Provisions,
    config: Config,
    listening: Vec<Listening>,
    sandbox: sandbox::Status,
    predecessors: Vec<Predecessor>,
    /// Whether signals to the process are for this proxy.
    obeys_signals: bool,
}

/// What orders of the operator are carried out with.
pub(super) struct OrderDesk {
    pub(super) orders: watch::Sender<Order>,
    pub(super) reload: reload::Handle,
    pub(super) drain: Drain,
    pub(super) names: GroupNames,
}

/// They are at work. Dropping it ends them: the file of the control socket is removed, and who waits for the end at the
/// control socket sees it.
#[derive(Debug)]
pub(super) struct Companions {
    snapshot: Option<Keeper>,
    _control: Option<control::Server>,
    board: Arc<Board>,
    /// Told last that it ends.
    _admin: Option<Admin>,
}

impl Companions {
    /// From now on the proxy is not ready.
    pub(super) fn tell_draining(&self) {
        self.board.set_draining();
    }

    /// Has the snapshot written a last time, and waits for that, within bounds.
    pub(super) async fn save(&mut self) {
        let Some(keeper) = self.snapshot.take() else {
            return;
        };
        if tokio::time::timeout(SNAPSHOT_END, keeper.end())
            .await
            .is_err()
        {
            tracing::warn!(
                waited = ?SNAPSHOT_END,
                "the last cache snapshot is not written yet and is given up; the one before stays"
            );
        }
    }
}

impl Plans {
    pub(super) fn of(prepared: &mut Prepared) -> Self {
        Self {
            provisions: std::mem::take(&mut prepared.provisions),
            config: prepared.config.clone(),
            listening: prepared.listening(),
            sandbox: prepared.sandbox,
            predecessors: std::mem::take(&mut prepared.predecessors),
            obeys_signals: prepared.is_the_program(),
        }
    }

    /// Starts them. Orders from the control socket are carried out with `desk`.
    pub(super) fn start(
        self,
        worker: &Rc<Worker>,
        cache: &Arc<Cache>,
        desk: OrderDesk,
    ) -> io::Result<Companions> {
        let config = &self.config;
        if let Some(store) = self.provisions.store {
            share(config, worker, store)?;
        }
        let snapshot = config.snapshot.as_ref().filter(|_| cache.is_on());
        let snapshot = snapshot.map(|settings| {
            snapshot::start(Snapshot {
                path: settings.path.clone(),
                every: settings.every,
                cache: Arc::clone(cache),
                names: desk.names.clone(),
                predecessors: self.predecessors,
                patience: config.drain + SNAPSHOT_END,
            })
        });
        let (post, inbox) = post::open();
        inbox.serve(worker);
        let board = Arc::new(Board::new(post, config.ready_requires, self.sandbox));
        let admin = self.provisions.admin;
        if let Some(address) = admin.as_ref().and_then(|it| it.local_addr().ok()) {
            tracing::info!(%address, "metrics and health at http://{address}");
        }
        let admin = Admin::start(admin, Arc::clone(&board), service::watchdog())?;
        let facts = Rc::new(Facts::new(self.listening, self.sandbox, Arc::clone(cache)));
        if self.obeys_signals {
            let asked = StateAsked::listen()?;
            let telling = control::log_when_asked(Rc::clone(worker), Rc::clone(&facts), asked);
            tokio::task::spawn_local(telling);
        }
        let control = self
            .provisions
            .control
            .map(|socket| serve_control(socket, worker, facts, desk));
        Ok(Companions {
            snapshot: snapshot.transpose()?,
            _control: control.transpose()?,
            board,
            _admin: admin,
        })
    }
}

fn share(config: &Config, worker: &Rc<Worker>, store: Store) -> io::Result<()> {
    let url = config.shared_cache.as_ref().map(|it| it.url.as_str());
    let url = url.unwrap_or_default();
    let shared = SharedConfig {
        labels: plan::labels(config),
        authenticated: Place::parse(url).is_some_and(|place| place.is_authenticated()),
    };
    worker.turn(|state, _, _| state.engine.share(shared));
    shared::start(worker, store)?;
    tracing::info!(url, "shared cache");
    Ok(())
}

/// Serves the control socket; what is asked of the worker is answered by a task of its own there.
fn serve_control(
    socket: ControlSocket,
    worker: &Rc<Worker>,
    facts: Rc<Facts>,
    desk: OrderDesk,
) -> io::Result<control::Server> {
    let path = socket.path().display().to_string();
    let (questions, asked) = mpsc::channel(CONTROL_CONNECTIONS);
    let cache = facts.cache();
    tokio::task::spawn_local(control::answer_questions(Rc::clone(worker), facts, asked));
    let desk = Desk {
        worker: questions,
        cache,
        names: desk.names,
        orders: desk.orders,
        reload: desk.reload,
        drain: desk.drain,
    };
    let server = control::start(socket, desk)?;
    tracing::info!(path, "control socket");
    Ok(server)
}
