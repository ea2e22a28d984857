//! Wakes those who wait to try something again: now it may work, because the machine is reached in another way or woke up.
//!
//! Deliberately absent: what the news are (`watch`, `clock`), and what is done about them.

use tokio::sync::watch::{Receiver, Sender};

/// Tells whoever listens.
#[derive(Debug, Default)]
pub(crate) struct News {
    hints: Sender<()>,
    changes: Sender<()>,
}

/// Listens; what was told since the last wait is not lost.
#[derive(Debug)]
pub(crate) struct Listener {
    hints: Receiver<()>,
    changes: Receiver<()>,
}

impl News {
    /// The kernel told something of links, addresses or routes, whatever it means.
    pub(crate) fn hint(&self) {
        self.hints.send_replace(());
    }

    /// The machine is not where it was.
    pub(crate) fn change(&self) {
        self.changes.send_replace(());
        self.hint();
    }

    /// Somebody who listens from now on.
    pub(crate) fn listener(&self) -> Listener {
        Listener {
            hints: self.hints.subscribe(),
            changes: self.changes.subscribe(),
        }
    }
}

impl Listener {
    /// What was told so far is known.
    pub(crate) fn forget(&mut self) {
        self.hints.mark_unchanged();
        self.changes.mark_unchanged();
    }

    /// Waits for anything that was told.
    pub(crate) async fn hint(&mut self) {
        changed(&mut self.hints).await;
    }

    /// Waits for a change.
    pub(crate) async fn change(&mut self) {
        changed(&mut self.changes).await;
    }
}

async fn changed(receiver: &mut Receiver<()>) {
    if receiver.changed().await.is_err() {
        // Nobody tells anything any more.
        std::future::pending::<()>().await;
    }
}
