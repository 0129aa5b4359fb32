//! Programs that were started apart meet at a socket: what they get, and what becomes of it.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests look at the kernel")]

mod common;

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use common::{alone, assert_killed, die, ends_within, open_fds, until, watched};
use multiproc::{
    Array, AuthKey, Codec, CodecError, Connection, Connector, ErrorKind, Framed, Listener, Lock,
    Manager, ManagerClient, Pipe, Process, Queue, Value, connect,
};

const LONG: Duration = Duration::from_secs(50);

fn place(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("door")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Connects as a process of its own, and answers every line in upper case.
fn shout(path: PathBuf) {
    let mut connection = connect::<String, String>(path).unwrap();
    while let Ok(line) = connection.recv() {
        if connection.send(line.to_uppercase()).is_err() {
            return;
        }
    }
}

#[test]
fn values_and_bytes_go_to_and_fro() {
    watched("values_and_bytes_go_to_and_fro", || {
        let folder = folder();
        let listener = Listener::bind(place(&folder)).unwrap();
        let client = Process::spawn(shout, place(&folder)).unwrap();
        let (mut connection, peer) = listener.accept::<String, String>().unwrap();
        let [uid, gid] = [unsafe { libc::geteuid() }, unsafe { libc::getegid() }];
        assert_eq!((peer.pid, peer.uid, peer.gid), (client.pid(), uid, gid));
        for length in [0, 5, 1 << 20] {
            connection.send("x".repeat(length)).unwrap();
            assert_eq!(connection.recv().unwrap(), "X".repeat(length));
        }
        drop(connection);
        client.join().unwrap();
    });
}

#[test]
fn bytes_are_built_and_read_in_place() {
    fn client(path: PathBuf) {
        let mut connection = connect::<u64, u64>(path).unwrap();
        let message = connection.peek().unwrap();
        let length = message.len() as u64;
        message.consume().unwrap();
        connection.send(length).unwrap();
    }
    watched("bytes_are_built_and_read_in_place", || {
        let folder = folder();
        let pipe = Pipe::builder().capacity(1 << 20);
        let listener = Listener::builder().pipe(pipe).bind(place(&folder)).unwrap();
        let client = Process::spawn(client, place(&folder)).unwrap();
        let (mut connection, _) = listener.accept::<u64, u64>().unwrap();
        let mut slot = connection.reserve(400_000).unwrap();
        slot.fill(7);
        slot.commit(400_000).unwrap();
        assert_eq!(connection.recv().unwrap(), 400_000);
        client.join().unwrap();
    });
}

/// A codec of the user's.
#[derive(Debug)]
struct Backwards;

impl Framed for Backwards {}

impl Codec<String> for Backwards {
    fn encode(value: &String, bytes: &mut Vec<u8>) -> Result<(), CodecError> {
        bytes.extend(value.bytes().rev());
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<String, CodecError> {
        Ok(std::str::from_utf8(bytes)?.to_owned())
    }
}

#[test]
fn every_codec_that_a_pipe_has_goes() {
    fn plain(path: PathBuf) -> u64 {
        let mut connection = Connector::new().plain().connect::<u8, u64>(path).unwrap();
        connection.send(1).unwrap();
        connection.iter().sum()
    }
    fn own(path: PathBuf) -> String {
        let connector = Connector::new().codec::<Backwards>();
        connector.connect::<String, String>(path).unwrap().recv().unwrap()
    }
    watched("every_codec_that_a_pipe_has_goes", || {
        let folder = folder();
        let path = place(&folder);
        let pipe = Pipe::builder().plain().slots(3);
        let listener = Listener::builder().pipe(pipe).bind(&path).unwrap();
        let client = Process::spawn(plain, path.clone()).unwrap();
        let (mut connection, _) = listener.accept::<u64, u8>().unwrap();
        assert_eq!(connection.recv().unwrap(), 1);
        connection.send_batch(&mut (1..=100).collect()).unwrap();
        drop((connection, listener));
        assert_eq!(client.join().unwrap(), 5050);

        let pipe = Pipe::builder().codec::<Backwards>();
        let listener = Listener::builder().pipe(pipe).bind(&path).unwrap();
        let client = Process::spawn(own, path).unwrap();
        let (mut connection, _) = listener.accept::<String, String>().unwrap();
        connection.send("drawer".to_owned()).unwrap();
        assert_eq!(client.join().unwrap(), "reward");
    });
}

/// Handles of every kind that has no function in it.
type Handles = (Queue<u64>, Lock, Value<u64>, Array<u64>, Connection<String, String>);

#[test]
fn handles_of_every_kind_go_through_it() {
    fn client(path: PathBuf) {
        let mut connection = connect::<u64, Handles>(path).unwrap();
        let (mut queue, lock, value, array, mut pipe) = connection.recv().unwrap();
        queue.send(1).unwrap();
        let guard = lock.lock().unwrap();
        value.update(|value| *value += 3).unwrap();
        drop(guard);
        array.lock().unwrap()[1] = 4;
        pipe.send("five".to_owned()).unwrap();
        connection.send(6).unwrap();
    }
    watched("handles_of_every_kind_go_through_it", || {
        let folder = folder();
        let listener = Listener::bind(place(&folder)).unwrap();
        let client = Process::spawn(client, place(&folder)).unwrap();
        let (mut connection, _) = listener.accept::<Handles, u64>().unwrap();
        let mut queue = Queue::bounded(3).unwrap();
        let (lock, value) = (Lock::new().unwrap(), Value::new(0).unwrap());
        let array = Array::from_slice(&[0, 0]).unwrap();
        let (mut here, there) = Pipe::duplex::<String, String>().unwrap();
        let handles =
            (queue.try_clone().unwrap(), lock.clone(), value.clone(), array.clone(), there);
        connection.send(handles).unwrap();
        assert_eq!(connection.recv().unwrap(), 6);
        assert_eq!(queue.recv().unwrap(), 1);
        assert!(lock.try_lock().is_ok());
        assert_eq!((value.get().unwrap(), array.lock().unwrap()[1]), (3, 4));
        assert_eq!(here.recv().unwrap(), "five");
        client.join().unwrap();
    });
}

#[test]
fn an_accepted_connection_can_move_on() {
    fn client(path: PathBuf) {
        let connection = connect::<String, String>(path).unwrap();
        let grandchild = Process::spawn(speak, connection).unwrap();
        grandchild.join().unwrap();
    }
    fn speak(mut connection: Connection<String, String>) {
        connection.send("from a process that never connected".to_owned()).unwrap();
    }
    watched("an_accepted_connection_can_move_on", || {
        let folder = folder();
        let listener = Listener::bind(place(&folder)).unwrap();
        let client = Process::spawn(client, place(&folder)).unwrap();
        let (mut connection, _) = listener.accept::<String, String>().unwrap();
        assert_eq!(connection.recv().unwrap(), "from a process that never connected");
        assert!(connection.recv().unwrap_err().is_disconnected());
        client.join().unwrap();
    });
}

#[test]
fn a_peer_that_is_killed_is_an_end() {
    fn client(path: PathBuf) {
        let mut connection = connect::<u64, u64>(path).unwrap();
        connection.send(1).unwrap();
        die();
    }
    watched("a_peer_that_is_killed_is_an_end", || {
        let folder = folder();
        let listener = Listener::bind(place(&folder)).unwrap();
        let client = Process::spawn(client, place(&folder)).unwrap();
        let (mut connection, _) = listener.accept::<u64, u64>().unwrap();
        assert_eq!(connection.recv().unwrap(), 1);
        assert!(connection.recv().unwrap_err().is_peer_dead());
        assert_killed(client.join());
    });
}

#[test]
fn the_listener_s_file_descriptor_is_readable_when_somebody_knocks() {
    watched("the_listener_s_file_descriptor_is_readable_when_somebody_knocks", || {
        let folder = folder();
        let listener = Listener::bind(place(&folder)).unwrap();
        assert!(!ends_within(listener.as_fd(), Duration::ZERO));
        assert!(listener.try_accept::<String, String>().unwrap().is_none());
        let nobody = listener.accept_timeout::<String, String>(Duration::from_millis(1));
        assert!(nobody.unwrap().is_none());
        let client = Process::spawn(shout, place(&folder)).unwrap();
        let connection = loop {
            assert!(ends_within(listener.as_fd(), LONG));
            if let Some((connection, _)) = listener.try_accept::<String, String>().unwrap() {
                break connection;
            }
        };
        assert!(!ends_within(listener.as_fd(), Duration::ZERO));
        drop(connection);
        client.join().unwrap();
    });
}

#[test]
fn many_connect_at_once_and_each_has_a_pipe_of_its_own() {
    fn client((path, number): (PathBuf, u64)) {
        for round in 0..20 {
            let mut connection = connect::<u64, u64>(&path).unwrap();
            connection.send(100 * number + round).unwrap();
            assert_eq!(connection.recv().unwrap(), 100 * number + round);
        }
    }
    watched("many_connect_at_once_and_each_has_a_pipe_of_its_own", || {
        let folder = folder();
        let path = place(&folder);
        let listener = Listener::bind(&path).unwrap();
        let clients: Vec<_> =
            (0..4).map(|number| Process::spawn(client, (path.clone(), number)).unwrap()).collect();
        thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    for _ in 0..40 {
                        let (mut connection, _) = listener.accept::<u64, u64>().unwrap();
                        let number = connection.recv().unwrap();
                        connection.send(number).unwrap();
                    }
                });
            }
        });
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

#[test]
fn nothing_is_left_of_connections_that_ended() {
    alone("nothing_is_left_of_connections_that_ended", |()| {
        let folder = folder();
        let path = place(&folder);
        let listener = Listener::bind(&path).unwrap();
        let round = || {
            thread::scope(|threads| {
                let client = threads.spawn(|| connect::<u64, u64>(&path).unwrap());
                let (mut connection, _) = listener.accept::<u64, u64>().unwrap();
                connection.send(1).unwrap();
                assert_eq!(client.join().unwrap().recv().unwrap(), 1);
            });
        };
        round();
        let before = open_fds();
        (0..100).for_each(|_| round());
        assert_eq!(open_fds(), before);
        drop(listener);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    });
}

#[test]
fn there_is_room_again_after_file_descriptors_ran_out() {
    alone("there_is_room_again_after_file_descriptors_ran_out", |()| {
        let folder = folder();
        let path = place(&folder);
        let listener = Listener::bind(&path).unwrap();
        let client = Process::spawn(shout, path).unwrap();
        assert!(ends_within(listener.as_fd(), LONG));
        let highest = fs::read_dir("/proc/self/fd").unwrap().count() as u64 + 1;
        let limit = libc::rlimit { rlim_cur: highest, rlim_max: 1024 };
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let mut more = Vec::new();
        // Whoever fails to be accepted is gone; what failed before leaves him in line.
        let failed = loop {
            match fs::File::open("/dev/null") {
                Ok(file) => more.push(file),
                Err(_) => break listener.accept::<String, String>().unwrap_err(),
            }
        };
        assert_eq!(failed.kind(), ErrorKind::Limit, "{failed}");
        let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        let (connection, _) = listener.accept::<String, String>().unwrap();
        drop((connection, more));
        client.join().unwrap();
    });
}

#[test]
fn a_socket_that_a_dead_listener_left_is_taken_over() {
    fn listen_and_die(path: PathBuf) {
        std::mem::forget(Listener::bind(path).unwrap());
        die();
    }
    watched("a_socket_that_a_dead_listener_left_is_taken_over", || {
        let folder = folder();
        let path = place(&folder);
        assert_killed(Process::spawn(listen_and_die, path.clone()).unwrap().join());
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
        let error = connect::<String, String>(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        let listener = Listener::bind(&path).unwrap();
        let client = Process::spawn(shout, path).unwrap();
        drop(listener.accept::<String, String>().unwrap());
        client.join().unwrap();
    });
}

#[test]
fn the_place_of_the_living_is_in_use() {
    watched("the_place_of_the_living_is_in_use", || {
        let folder = folder();
        let path = place(&folder);
        let listener = Listener::bind(&path).unwrap();
        let error = Listener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        // The look that the other had at it is nobody's connection.
        let client = Process::spawn(shout, path.clone()).unwrap();
        drop(listener.accept::<String, String>().unwrap());
        client.join().unwrap();
        drop(listener);

        let other = UnixListener::bind(&path).unwrap();
        assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::InUse);
        assert_eq!(connect::<u8, u8>(&path).unwrap_err().kind(), ErrorKind::Misuse);
        drop(other);
        drop(Listener::bind(&path).unwrap());
        assert!(!path.exists());
    });
}

#[test]
fn a_listener_whose_line_is_full_is_alive() {
    watched("a_listener_whose_line_is_full_is_alive", || {
        let folder = folder();
        let path = place(&folder);
        let listener = Listener::bind(&path).unwrap();
        let address = nix_address(&path);
        let mut waiting = Vec::new();
        while let Some(socket) = knock(&address, libc::SOCK_NONBLOCK) {
            waiting.push(socket);
        }
        assert!(waiting.len() > 100);
        assert_eq!(Listener::bind(&path).unwrap_err().kind(), ErrorKind::InUse);
        let error = Connector::new().timeout(Duration::from_millis(20)).connect::<u8, u8>(&path);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Timeout);
        drop(waiting);
        drop(listener);
    });
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let folder = folder();
    let path = place(&folder);
    let refused = || {
        let error = Listener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        assert!(fs::symlink_metadata(&path).is_ok());
    };
    fs::write(&path, "precious").unwrap();
    refused();
    assert_eq!(connect::<u8, u8>(&path).unwrap_err().kind(), ErrorKind::Misuse);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused();
    fs::remove_dir(&path).unwrap();
    // Also a link that leads nowhere, or to a socket that nobody listens at.
    std::os::unix::fs::symlink(folder.path().join("other"), &path).unwrap();
    refused();
    drop(UnixListener::bind(folder.path().join("other")).unwrap());
    refused();
    fs::remove_file(&path).unwrap();
    assert!(connect::<u8, u8>(&path).unwrap_err().raw_os_error() == Some(libc::ENOENT));
    assert!(Listener::bind(folder.path().join("no/such")).is_err());
    assert!(Listener::bind("/").is_err());
}

#[test]
fn of_two_that_race_for_a_place_one_wins() {
    watched("of_two_that_race_for_a_place_one_wins", || {
        let folder = folder();
        let path = place(&folder);
        for round in 0..100 {
            if round % 2 == 0 {
                // Both find what a dead one left.
                drop(UnixListener::bind(&path).unwrap());
            }
            let start = Barrier::new(3);
            let results = thread::scope(|threads| {
                let race = || {
                    start.wait();
                    Listener::bind(&path)
                };
                let all: Vec<_> = (0..3).map(|_| threads.spawn(race)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
            });
            let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            assert_eq!((won.len(), lost.len()), (1, 2));
            for error in lost {
                assert_eq!(error.unwrap_err().kind(), ErrorKind::InUse);
            }
            assert!(knock(&nix_address(&path), 0).is_some(), "the winner's socket is at its place");
            drop(won);
            assert!(!path.exists());
        }
    });
}

#[test]
fn the_socket_is_private_from_its_first_moment_whatever_the_umask() {
    alone("the_socket_is_private_from_its_first_moment_whatever_the_umask", |()| {
        for umask in [0, 0o022, 0o777] {
            unsafe { libc::umask(0) };
            let folder = folder();
            let path = place(&folder);
            unsafe { libc::umask(umask) };
            let is_over = std::sync::atomic::AtomicBool::new(false);
            thread::scope(|threads| {
                threads.spawn(|| {
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        if let Ok(file) = fs::symlink_metadata(&path) {
                            assert_eq!(file.permissions().mode() & 0o077, 0, "{umask:o}");
                        }
                    }
                });
                for _ in 0..50 {
                    let listener = Listener::bind(&path).unwrap();
                    let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
                    assert_eq!(mode & 0o777, 0o600, "{umask:o}");
                    drop(listener);
                }
                is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            let open = Listener::builder().allow_all_users().bind(&path).unwrap();
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o666, "{umask:o}");
            drop(open);
        }
    });
}

#[test]
fn a_listener_removes_its_own_socket_and_no_other() {
    let folder = folder();
    let path = place(&folder);
    let first = Listener::bind(&path).unwrap();
    fs::rename(&path, folder.path().join("moved")).unwrap();
    let second = Listener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists() && folder.path().join("moved").exists());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn a_forked_copy_of_a_listener_is_not_the_listener() {
    alone("a_forked_copy_of_a_listener_is_not_the_listener", |()| {
        let folder = folder();
        let path = place(&folder);
        let listener = Listener::bind(&path).unwrap();
        let listener = std::sync::Arc::new(listener);
        let copy = std::sync::Arc::clone(&listener);
        // SAFETY: this process has no thread that holds a lock.
        let child = unsafe {
            Process::fork(move || {
                let error = copy.try_accept::<u8, u8>().unwrap_err();
                let copy = std::sync::Arc::into_raw(copy);
                drop(std::ptr::read(copy));
                error.kind() == ErrorKind::Forked
            })
        };
        assert!(child.unwrap().join().unwrap());
        assert!(path.exists());
        drop(listener);
        assert!(!path.exists());
    });
}

#[test]
fn a_place_may_be_far_away_and_its_folder_may_move() {
    alone("a_place_may_be_far_away_and_its_folder_may_move", |()| {
        let folder = folder();
        let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        let path = deep.join("door");
        let listener = Listener::bind(&path).unwrap();
        let client = Process::spawn(shout, path.clone()).unwrap();
        drop(listener.accept::<String, String>().unwrap());
        client.join().unwrap();
        let error = Listener::bind(deep.join("n".repeat(120))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");

        std::env::set_current_dir(&deep).unwrap();
        let near = Listener::bind("near").unwrap();
        std::env::set_current_dir("/").unwrap();
        fs::rename(&deep, folder.path().join("moved")).unwrap();
        drop((listener, near));
        assert_eq!(fs::read_dir(folder.path().join("moved")).unwrap().count(), 0);
    });
}

#[test]
fn the_key_is_shown_nowhere() {
    let key = AuthKey::new("open sesame").unwrap();
    let builder = Listener::builder().key(key.clone());
    let connector = Connector::new().key(key.clone());
    for text in [format!("{key:?}"), format!("{builder:?}"), format!("{connector:?}")] {
        assert!(text.contains("AuthKey(..)") && !text.contains("sesame"), "{text}");
    }
    assert_eq!(AuthKey::new("").unwrap_err().kind(), ErrorKind::Misuse);
}

#[test]
fn another_user_is_refused_by_both_sides_unless_it_is_allowed() {
    /// Runs as somebody else. What it heard, as a listener and as one who connects.
    fn other((path, own): (PathBuf, PathBuf)) -> (String, String) {
        assert_eq!(unsafe { libc::setuid(4242) }, 0);
        let connected = Connector::new().allow_user(0).connect::<u8, u8>(&path);
        let connected = connected.map_or_else(|error| error.to_string(), |_| String::new());
        let listener = Listener::builder().allow_all_users().bind(&own).unwrap();
        fs::write(own.with_extension("ready"), "").unwrap();
        let accepted =
            listener.accept::<u8, u8>().map_or_else(|e| e.to_string(), |_| String::new());
        (connected, accepted)
    }
    watched("another_user_is_refused_by_both_sides_unless_it_is_allowed", || {
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: another user is tried by root alone");
            return;
        }
        let folder = folder();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let path = place(&folder);
        let theirs = folder.path().join("theirs");
        // One who is not allowed, though the socket is open to all.
        let listener = Listener::builder().allow_user(1).bind(&path).unwrap();
        let child = Process::spawn(other, (path.clone(), theirs.clone())).unwrap();
        let refused = listener.accept::<u8, u8>().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        let who = format!("process {} of user 4242", child.pid());
        assert!(refused.to_string().contains(&who), "{refused}");
        until(|| theirs.with_extension("ready").exists());
        // Nor does the connecting side speak with a listener of another user by itself.
        let refused = connect::<u8, u8>(&theirs).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert!(refused.to_string().contains("of user 4242 listens there"), "{refused}");
        drop(Connector::new().allow_user(4242).connect::<u8, u8>(&theirs).unwrap());
        let (connected, accepted) = child.join().unwrap();
        assert!(connected.contains("does not allow this user"), "{connected}");
        assert_eq!(accepted, "");
        drop(listener);
        // A private socket does not even open.
        let listener = Listener::bind(&path).unwrap();
        let child = Process::spawn(other, (path, theirs.clone())).unwrap();
        until(|| knock(&nix_address(&theirs), 0).is_some());
        drop(Connector::new().allow_all_users().connect::<u8, u8>(&theirs).unwrap());
        let (connected, _) = child.join().unwrap();
        assert!(connected.contains("Permission denied"), "{connected}");
        assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
    });
}

#[test]
fn a_manager_can_ask_for_a_key_and_stops_listening_when_it_ends() {
    alone("a_manager_can_ask_for_a_key_and_stops_listening_when_it_ends", |()| {
        let folder = folder();
        let path = place(&folder);
        let key = AuthKey::new("open sesame").unwrap();
        let manager = Manager::start().unwrap();
        manager.listen_with(&path, Listener::builder().key(key.clone())).unwrap();
        assert_eq!(manager.listen(&path).unwrap_err().kind(), ErrorKind::InUse);
        manager.listen(folder.path().join("second")).unwrap();
        let error = ManagerClient::connect(&path).unwrap_err();
        assert!(error.to_string().contains("asks for a key"), "{error}");
        // What listens for one thing is no place for another.
        let error = Connector::new().key(key.clone()).connect::<u8, u8>(&path).unwrap_err();
        assert!(error.to_string().contains("calls of functions of the program"), "{error}");
        let client = ManagerClient::connect_with(&path, &Connector::new().key(key)).unwrap();
        assert!(client == manager.client());
        manager.root().unwrap().set("word", "found".to_owned()).unwrap();
        assert_eq!(client.root().unwrap().get("word").unwrap(), Some("found".to_owned()));
        manager.shutdown().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(client.root().unwrap_err().kind(), ErrorKind::Disconnected);
    });
}

#[test]
fn a_program_without_standard_streams_listens_and_connects_beside_them() {
    fn streams() -> Vec<PathBuf> {
        (0..3).filter_map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).ok()).collect()
    }
    /// What it had there when it listened. What the kernel puts there when somebody connects, or is
    /// in the middle of it, does not stay there.
    fn closed(path: PathBuf) -> Vec<PathBuf> {
        (0..3).for_each(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
        let key = AuthKey::new("open sesame").unwrap();
        let listener = Listener::builder().key(key.clone()).bind(&path).unwrap();
        let listening = streams();
        thread::scope(|threads| {
            let client =
                threads.spawn(|| Connector::new().key(key).connect::<u8, u8>(&path).unwrap());
            let mut asked =
                libc::pollfd { fd: listener.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
            assert_eq!(unsafe { libc::poll(&raw mut asked, 1, -1) }, 1);
            common::until(|| streams().is_empty());
            // He may be through already.
            let early = listener.try_accept::<u8, u8>().unwrap();
            common::until(|| streams().is_empty());
            let (mut connection, _) = early.unwrap_or_else(|| listener.accept().unwrap());
            connection.send(7).unwrap();
            assert_eq!(client.join().unwrap().recv().unwrap(), 7);
            listening
        })
    }
    watched("a_program_without_standard_streams_listens_and_connects_beside_them", || {
        let folder = folder();
        let found = Process::spawn(closed, place(&folder)).unwrap().join().unwrap();
        assert_eq!(found, [] as [PathBuf; 0]);
    });
}

fn nix_address(path: &Path) -> libc::sockaddr_un {
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.to_str().unwrap().bytes()) {
        *to = from as libc::c_char;
    }
    address
}

/// A connected socket of nobody's who speaks, if there is room for one.
fn knock(address: &libc::sockaddr_un, flags: i32) -> Option<std::os::fd::OwnedFd> {
    use std::os::fd::{FromRawFd, OwnedFd};
    let raw = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | flags, 0) };
    assert!(raw >= 0);
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let length = size_of_val(address) as u32;
    let done =
        unsafe { libc::connect(socket.as_raw_fd(), std::ptr::from_ref(address).cast(), length) };
    (done == 0).then_some(socket)
}
