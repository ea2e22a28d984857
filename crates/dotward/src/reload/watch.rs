//! Looking whether the configuration file changed, and asking for a reload when it did (`runtime.watch`).
//!
//! Promises: replacing the file, rewriting it and switching a link on its way (a ConfigMap's `..data`) are all seen; a file that is still being
//! written is left until it has come to rest; a look runs beside the worker.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{ConfigSource, Handle, Trigger};
use crate::stamps::Stamps;

/// Starts to look at the file of `source`, if there is one, every `pause`.
pub(crate) fn watch(source: &ConfigSource, handle: Handle, pause: Duration) {
    if let Some(file) = source.file.clone() {
        tokio::task::spawn_local(look_at(file, source.began, handle, pause));
    }
}

/// Looks at `file`, which was read since `began`, for ever.
async fn look_at(file: PathBuf, began: SystemTime, handle: Handle, pause: Duration) {
    let mut file = Stamps::read_since(vec![file], began);
    loop {
        let settling = file.is_settling();
        tokio::time::sleep(if settling { pause / 10 } else { pause }).await;
        let look = move || {
            let changed = file.look();
            (file, changed)
        };
        let Ok((back, changed)) = tokio::task::spawn_blocking(look).await else {
            tracing::error!("the configuration file is not looked at any more");
            return;
        };
        file = back;
        if changed {
            handle.request(Trigger::File);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::reload::channel;
    use crate::run::local_runtime;

    #[test]
    fn a_file_behind_a_switched_link_is_read_again_once_for_each_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("dotward.toml"), version).unwrap();
        }
        // As the kubelet does it.
        symlink("1", path("..data")).unwrap();
        symlink("..data/dotward.toml", path("dotward.toml")).unwrap();
        let (handle, mut calls) = channel();
        local_runtime().unwrap().block_on(async {
            let began = SystemTime::now() + Duration::from_secs(5);
            let pause = Duration::from_millis(20);
            let watching = look_at(path("dotward.toml"), began, handle, pause);
            let watching = tokio::task::spawn_local(watching);
            tokio::time::sleep(pause * 5).await;
            assert!(calls.0.try_recv().is_err(), "nothing has changed");
            symlink("2", path("..new")).unwrap();
            fs::rename(path("..new"), path("..data")).unwrap();
            assert_eq!(calls.0.recv().await.unwrap().trigger, Trigger::File);
            fs::write(path("2").join("dotward.toml"), "three").unwrap();
            assert_eq!(calls.0.recv().await.unwrap().trigger, Trigger::File);
            tokio::time::sleep(pause * 5).await;
            assert!(calls.0.try_recv().is_err(), "each change once");
            watching.abort();
        });
    }
}
