//! Names in strange places: another PID namespace, another user, a folder of names that is full or
//! missing, and cleaning where nobody else is.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "changes where it is")]

mod common;
#[path = "common/own.rs"]
mod own;

use std::ffi::CString;
use std::io::Error;

use common::{alone, assert_killed, die, watched};
use multiproc::{Array, ErrorKind, Event, Lock, LockError, Process, Queue, Segment, Value};
use own::Own;

/// Takes this process into namespaces of its own, or says why that cannot be.
fn unshare(what: libc::c_int) -> bool {
    let user = if unsafe { libc::geteuid() } == 0 { 0 } else { libc::CLONE_NEWUSER };
    let done = unsafe { libc::unshare(what | user) } == 0;
    if !done {
        eprintln!("skipped: this machine lets nobody have a namespace: {}", Error::last_os_error());
    }
    done
}

/// Puts a folder of names of so many bytes in the place of the one that others use.
fn own_folder(size: &str) -> bool {
    if !unshare(libc::CLONE_NEWNS) {
        return false;
    }
    let mount = |from: &str, to: &str, kind: &str, flags, options: &str| {
        let [from, to, kind, options] =
            [from, to, kind, options].map(|it| CString::new(it).unwrap());
        let options = options.as_ptr().cast();
        let done =
            unsafe { libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, options) };
        assert_eq!(done, 0, "mount: {}", Error::last_os_error());
    };
    mount("none", "/", "none", libc::MS_REC | libc::MS_PRIVATE, "");
    mount("tmpfs", "/dev/shm", "tmpfs", 0, &format!("size={size}"));
    true
}

#[test]
fn only_what_nobody_has_is_cleaned() {
    fn clean(_: ()) {
        if !own_folder("1m") {
            return;
        }
        let held = Lock::create("held").unwrap();
        for stale in ["one", "two"] {
            drop(Event::create(stale).unwrap());
        }
        std::fs::write("/dev/shm/somebody-else", "x").unwrap();
        let cleaned = Segment::clean().unwrap();
        let names: Vec<&str> = cleaned.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        let left = Segment::list().unwrap();
        assert!(left.len() == 1 && left[0].name.as_str() == "held" && left[0].is_in_use);
        assert!(std::path::Path::new("/dev/shm/somebody-else").exists());
        drop(held);
        assert_eq!(Segment::clean().unwrap().len(), 1);
    }
    alone("only_what_nobody_has_is_cleaned", clean);
}

#[test]
fn a_full_folder_is_an_error_when_something_is_made() {
    fn fill(_: ()) {
        if !own_folder("4m") {
            return;
        }
        let error = Array::<u64>::create("large", 1 << 20, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Memory, "{error}");
        assert!(Segment::list().unwrap().is_empty());
        let mut queue = Queue::<String>::create("queue", None).unwrap();
        // It grows as long as there is room, and then says that there is none, and keeps all.
        let mut sent = 0;
        let error = loop {
            match queue.send(format!("{sent:0100}")) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert!(sent > 256, "{sent}: {error}");
        let received = (0..sent).all(|n| queue.recv().unwrap() == format!("{n:0100}"));
        assert!(received);
    }
    alone("a_full_folder_is_an_error_when_something_is_made", fill);
}

#[test]
fn no_folder_is_an_error_and_what_has_no_name_goes_on() {
    fn lack(_: ()) {
        if !own_folder("1m") {
            return;
        }
        let path = c"/dev/shm".as_ptr();
        assert_eq!(unsafe { libc::umount2(path, libc::MNT_DETACH) }, 0);
        let read_only = libc::MS_RDONLY;
        let (from, kind) = (c"tmpfs".as_ptr(), c"tmpfs".as_ptr());
        assert_eq!(unsafe { libc::mount(from, path, kind, read_only, std::ptr::null()) }, 0);
        assert_eq!(Event::create("event").unwrap_err().kind(), ErrorKind::Os);
        assert!(Value::new(1_u64).is_ok());
    }
    alone("no_folder_is_an_error_and_what_has_no_name_goes_on", lack);
}

/// Runs `act` as the first process of a PID namespace of its own, which ends with this process.
fn in_other_pids(act: impl FnOnce()) -> bool {
    if !unshare(libc::CLONE_NEWPID) {
        return false;
    }
    if unsafe { libc::fork() } == 0 {
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        act();
        unsafe { libc::_exit(1) }
    }
    true
}

/// The first file that is opened then has the number of the standard output.
#[test]
fn what_is_printed_to_closed_streams_does_not_get_into_a_name() {
    fn print(name: String) {
        let value = Value::<u64>::open(&name).unwrap();
        drop(value);
        (0..3).for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
        let value = Value::<u64>::open(&name).unwrap();
        println!("{}", "x".repeat(10_000));
        eprintln!("{}", "x".repeat(10_000));
        value.set(2).unwrap();
        let other = Value::create(format!("{name}-other"), 3_u64).unwrap();
        println!("{}", "x".repeat(10_000));
        assert_eq!(other.get().unwrap(), 3);
    }
    let own = Own::new("streams");
    let other = Own(multiproc::Name::new(&format!("{}-other", own.text())).unwrap());
    drop(Value::create(&own, 1_u64).unwrap());
    Process::spawn(print, own.text()).unwrap().join().unwrap();
    assert_eq!(Value::<u64>::open(&own).unwrap().get().unwrap(), 2);
    assert_eq!(Value::<u64>::open(&other).unwrap().get().unwrap(), 3);
}

/// As by a process that is stopped between two system calls.
#[test]
fn who_replaces_and_does_not_go_on_is_told_of() {
    use std::os::fd::AsRawFd;
    watched("who_replaces_and_does_not_go_on_is_told_of", || {
        let own = Own::new("stopped");
        drop(Value::create(&own, 1_u64).unwrap());
        let file = std::fs::OpenOptions::new().read(true).write(true).open(own.path()).unwrap();
        let mut all: libc::flock = unsafe { std::mem::zeroed() };
        (all.l_type, all.l_start, all.l_len) = (libc::F_WRLCK as i16, 1 << 60, 1024);
        let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const all) };
        assert_eq!(done, 0, "{}", Error::last_os_error());
        let error = Value::<u64>::open(&own).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists);
        assert!(error.to_string().contains("being replaced"), "{error}");
        drop(file);
        assert_eq!(Value::<u64>::open(&own).unwrap().get().unwrap(), 1);
    });
}

/// A pid says nothing to those in another namespace, so nothing may depend on one.
#[test]
fn processes_of_two_pid_namespaces_share_what_has_a_name() {
    fn elsewhere(name: String) {
        let is_there = in_other_pids(|| {
            assert_eq!(std::process::id(), 1);
            let lock = Lock::open(&name).unwrap();
            let mut queue = Queue::<u32>::open(format!("{name}-queue")).unwrap();
            // Alive, and held by a process that this namespace does not know.
            assert!(lock.is_locked() && matches!(lock.try_lock(), Err(LockError::WouldBlock)));
            queue.send(std::process::id()).unwrap();
            let _guard = lock.lock().unwrap();
            loop {
                unsafe { libc::pause() };
            }
        });
        if is_there {
            let mut queue = Queue::<u32>::open(format!("{name}-ends")).unwrap();
            queue.recv().unwrap();
            die()
        }
    }
    watched("processes_of_two_pid_namespaces_share_what_has_a_name", || {
        let own = Own::new("pids");
        let lock = Lock::create(&own).unwrap();
        let of_queue = Own(multiproc::Name::new(&format!("{}-queue", own.text())).unwrap());
        let of_end = Own(multiproc::Name::new(&format!("{}-ends", own.text())).unwrap());
        let mut queue = Queue::<u32>::create(&of_queue, 4).unwrap();
        let mut end = Queue::<u32>::create(&of_end, 1).unwrap();
        let guard = lock.lock().unwrap();
        let child = Process::spawn(elsewhere, own.text()).unwrap();
        loop {
            match queue.recv_timeout(std::time::Duration::from_millis(20)) {
                Ok(pid) => break assert_eq!(pid, 1),
                Err(_) if child.is_alive() => {}
                Err(_) => return child.join().unwrap(),
            }
        }
        drop(guard);
        // The other one takes it, and is not taken for dead while it has it.
        common::until(|| lock.who_holds().is_some());
        assert!(Segment::list().unwrap().iter().any(|info| info.name == own.0 && info.is_in_use));
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
        end.send(2).unwrap();
        assert_killed(child.join());
        assert!(matches!(lock.lock(), Err(LockError::OwnerDied { .. })));
    });
}

/// Who one is, is the kernel's to say: in there, this user and all others have the same number.
#[test]
fn a_process_of_another_user_namespace_is_the_same_user() {
    fn elsewhere(name: String) {
        if unsafe { libc::unshare(libc::CLONE_NEWUSER) } != 0 {
            return eprintln!("skipped: no user namespaces here: {}", Error::last_os_error());
        }
        let value = Value::<u64>::open(&name).unwrap();
        value.update(|value| *value += 1).unwrap();
        let own = format!("{name}-own");
        Event::create(&own).unwrap().set().unwrap();
        assert_eq!(value.get().unwrap(), 2);
    }
    let own = Own::new("users");
    let theirs = Own(multiproc::Name::new(&format!("{}-own", own.text())).unwrap());
    let value = Value::create(&own, 1_u64).unwrap();
    Process::spawn(elsewhere, own.text()).unwrap().join().unwrap();
    if value.get().unwrap() == 2 {
        assert!(Event::open(&theirs).unwrap().is_set());
    }
}

#[test]
fn another_user_is_refused() {
    fn other(name: String) {
        if unsafe { libc::geteuid() } != 0 {
            return eprintln!("skipped: only root can be somebody else");
        }
        assert_eq!(unsafe { libc::setgid(65534) }, 0);
        assert_eq!(unsafe { libc::setuid(65534) }, 0);
        let error = Value::<u64>::open(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Os, "{error}");
        assert_eq!(Value::create(&name, 2_u64).unwrap_err().kind(), ErrorKind::Exists);
        assert!(multiproc::Name::new(&name).unwrap().unlink().is_err());
        assert!(Segment::list().unwrap().iter().all(|info| info.name.as_str() != name));
    }
    let own = Own::new("other-user");
    let value = Value::create(&own, 1_u64).unwrap();
    Process::spawn(other, own.text()).unwrap().join().unwrap();
    assert_eq!(value.get().unwrap(), 1);
}
