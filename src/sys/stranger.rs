//! Other processes, as far as proc(5) tells of them. Nothing is decided by it: it is for people.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A process, as it was a moment ago.
#[derive(Clone, Debug)]
pub(crate) struct Stranger {
    /// The name of its program, 15 bytes of it.
    pub(crate) program: String,
    /// Whether it is stopped, by a signal or by a debugger.
    pub(crate) is_stopped: bool,
}

/// What is known of a process; `None` if there is none, or we may not know.
pub(crate) fn look(pid: u32) -> Option<Stranger> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name may have brackets of its own.
    let (begin, end) = (stat.find('(')?, stat.rfind(')')?);
    let program = stat.get(begin + 1..end)?.to_owned();
    let state = stat.get(end + 1..)?.trim_start().chars().next()?;
    Some(Stranger { program, is_stopped: matches!(state, 'T' | 't') })
}

/// Whose a process is; `None` if there is none.
pub(crate) fn user_of(pid: u32) -> io::Result<Option<u32>> {
    match fs::metadata(format!("/proc/{pid}")) {
        Ok(found) => Ok(Some(found.uid())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// The files that a process has open, each by what it is called and by where it can be opened.
pub(crate) fn files_of(pid: u32) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let door = entry?.path();
        // One that was closed meanwhile is none.
        if let Ok(name) = fs::read_link(&door) {
            files.push((name, door));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_and_nobody_is_not() {
        let me = std::process::id();
        assert!(!look(me).unwrap().is_stopped);
        assert_eq!(user_of(me).unwrap(), Some(nix::unistd::Uid::effective().as_raw()));
        assert!(files_of(me).unwrap().len() > 2);
        assert!(look(u32::MAX).is_none());
        assert_eq!(user_of(u32::MAX).unwrap(), None);
        assert!(files_of(u32::MAX).is_err());
    }
}
