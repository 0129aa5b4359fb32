//! How what a builder says becomes a process: the letter that it is born with, and its environment.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::clock::Deadline;
use crate::sys::{letter, task};
use crate::trace;
use crate::transfer::Parcel;

use super::builder::{Builder, Lifetime};
use super::client::{self, Baseline, Newborn, start_error};
use super::entry::Entry;
use super::family::{Family, family};
use super::job::{self, Environment, Job};
use super::options::StartMethod;
use super::seal;

impl Builder {
    pub(super) fn start(self, entry: Entry, parcel: &Parcel) -> Result<super::Started> {
        trace::begin!(start);
        self.check_environment()?;
        let family = family();
        let identity = family.next_identity();
        let name = self.name.clone().unwrap_or_else(|| format!("Process-{identity}"));
        let directory = match &self.directory {
            None => None,
            Some(path) => {
                Some(task::open_directory(path).context(|| format!("enter {}", path.display()))?)
            }
        };
        // Looked at once: the next file that this process opens may get the number of a closed one.
        let stdio: [_; 3] = std::array::from_fn(|number| self.stdio[number].given(number as i32));
        let given = stdio.map(|fd| fd.is_some());
        let prepare =
            |baseline: &Baseline| self.job(family, entry, &name, &identity, baseline, given);
        let Newborn { born, socket, prepared } = match self.method {
            StartMethod::ForkServer => client::from_server(family, prepare)?,
            StartMethod::Spawn => client::from_exec(family, prepare)?,
        };
        let sent = prepared.and_then(|job| {
            let mut fds: Vec<BorrowedFd<'_>> = Vec::with_capacity(8);
            fds.extend(stdio.into_iter().flatten());
            fds.extend(directory.as_ref().map(AsFd::as_fd));
            fds.extend(parcel.fds());
            letter::send_joined(socket.as_fd(), [&job, parcel.bytes()], &fds, Deadline::NEVER)
        });
        // Only now, so that the child is at work meanwhile.
        let child = family.adopt(born, name.clone(), self.lifetime == Lifetime::DiesWithParent)?;
        if let Err(cause) = sent {
            // It has nothing to do; the monitor buries it.
            let _ = child.signal(libc::SIGKILL);
            return Err(start_error("send a process its job", cause));
        }
        child.show();
        trace::note!(
            DEBUG,
            Started {
                pid: child.pid,
                name: child.name.clone(),
                method: self.method.name(),
                took: start.elapsed(),
            }
        );
        Ok(super::Started { child, socket, at_drop: self.at_drop })
    }

    /// The letter that tells the child everything, but for the arguments.
    fn job(
        &self,
        family: &Family,
        entry: Entry,
        name: &str,
        identity: &str,
        baseline: &Baseline,
        stdio: [bool; 3],
    ) -> std::io::Result<Vec<u8>> {
        let affinity = task::affinity()?;
        job::encode(&Job {
            entry,
            secret: seal::secret()?,
            name: Cow::Borrowed(name),
            identity: Cow::Borrowed(identity),
            parent_name: Cow::Borrowed(&family.me.name),
            parent: std::process::id(),
            is_daemon: self.lifetime == Lifetime::DiesWithParent,
            stdio,
            has_directory: self.directory.is_some(),
            umask: self.umask,
            signal_mask: task::signal_mask()?,
            affinity: if affinity == baseline.affinity { Vec::new() } else { affinity },
            environment: self.environment(baseline),
        })
    }

    /// Looks at what the child would otherwise abort of, before it could tell anybody.
    fn check_environment(&self) -> Result<()> {
        let values =
            self.environment.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (name, value) in values {
            let what = if !is_name(name) {
                format!("set the environment variable {name:?}: no variable has such a name")
            } else if value.as_bytes().contains(&0) {
                format!("set the environment variable {name:?}: a NUL in its value")
            } else {
                continue;
            };
            return Err(Error::new(ErrorKind::Misuse, what));
        }
        Ok(())
    }

    /// What the child must change in the environment that it is born with.
    fn environment(&self, baseline: &Baseline) -> Environment<'static> {
        let now: Vec<_> = std::env::vars_os().collect();
        let is_untouched = !self.clears_environment && self.environment.is_empty();
        if is_untouched && now == baseline.environment {
            return Environment::default();
        }
        let inherited = if self.clears_environment { Vec::new() } else { now };
        let mut wanted: BTreeMap<OsString, OsString> = inherited.into_iter().collect();
        for (key, value) in &self.environment {
            match value {
                Some(value) => wanted.insert(key.clone(), value.clone()),
                None => wanted.remove(key),
            };
        }
        let born: BTreeMap<_, _> = baseline.environment.iter().map(|(k, v)| (k, v)).collect();
        let bytes = |text: &OsStr| Cow::Owned(text.as_bytes().to_vec());
        let gone = born.keys().filter(|key| is_name(key) && !wanted.contains_key(**key));
        Environment {
            remove: gone.map(|key| bytes(key.as_os_str())).collect(),
            set: wanted
                .iter()
                .filter(|(key, value)| is_name(key) && born.get(key) != Some(value))
                .map(|(key, value)| (bytes(key), Cow::Owned(value.clone().into_vec())))
                .collect(),
        }
    }
}

/// Whether a variable of this name can be set and removed. Others can be inherited all the same.
fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && !name.as_bytes().iter().any(|byte| matches!(byte, b'=' | 0))
}
