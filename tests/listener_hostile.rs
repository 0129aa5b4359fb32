//! The handshake of a listener with those who are wrong, slow, hostile or dying.
//!
//! What is sent here is taken from an honest conversation and then cut, mixed, repeated or sent
//! back. Of its bytes this file knows the header: four of a magic word, the kind, two versions.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests speak raw sockets")]

mod common;

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use common::{alone, assert_killed, die, next, open_fds, seed, until, watched};
use multiproc::{
    AuthKey, Connection, Connector, Error, ErrorKind, Listener, Pipe, Process, connect,
};

/// The kinds of packets.
const PROOF: u8 = 3;
const WELCOME: u8 = 4;

/// Where a packet says what it is, and its version.
const KIND: usize = 4;
const VERSION: usize = 5;
const HEADER: usize = 13;

fn key(text: &str) -> AuthKey {
    AuthKey::new(text).unwrap()
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("door");
    (folder, path)
}

/// One end of a conversation, in packets.
struct Raw(OwnedFd);

fn address(path: &Path) -> libc::sockaddr_un {
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.to_str().unwrap().bytes()) {
        *to = from as libc::c_char;
    }
    address
}

impl Raw {
    fn socket() -> Self {
        let raw =
            unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0) };
        assert!(raw >= 0);
        Self(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    fn connect(path: &Path) -> Self {
        let (socket, to) = (Self::socket(), address(path));
        let length = size_of_val(&to) as u32;
        let to = std::ptr::from_ref(&to).cast();
        assert_eq!(unsafe { libc::connect(socket.0.as_raw_fd(), to, length) }, 0);
        socket
    }

    /// Somebody who listens and is not a listener.
    fn listen(path: &Path) -> Self {
        let (socket, at) = (Self::socket(), address(path));
        let length = size_of_val(&at) as u32;
        let at = std::ptr::from_ref(&at).cast();
        assert_eq!(unsafe { libc::bind(socket.0.as_raw_fd(), at, length) }, 0);
        assert_eq!(unsafe { libc::listen(socket.0.as_raw_fd(), 10) }, 0);
        socket
    }

    fn accept(&self) -> Self {
        let null = std::ptr::null_mut();
        let raw = unsafe { libc::accept(self.0.as_raw_fd(), null, null.cast()) };
        assert!(raw >= 0);
        Self(unsafe { OwnedFd::from_raw_fd(raw) })
    }

    fn send(&self, bytes: &[u8]) {
        let flags = libc::MSG_NOSIGNAL;
        let sent =
            unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
        assert_eq!(sent, bytes.len() as isize, "{}", std::io::Error::last_os_error());
    }

    /// One byte and a file.
    fn send_file(&self, file: &impl AsRawFd) {
        let mut byte = 1_u8;
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut control = [0_u64; 4];
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
            libc::CMSG_DATA(header).cast::<i32>().write_unaligned(file.as_raw_fd());
            assert_eq!(libc::sendmsg(self.0.as_raw_fd(), &raw const message, 0), 1);
        }
    }

    /// The next packet, which is empty at the end.
    fn receive(&self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 16];
        loop {
            let length = unsafe {
                libc::recv(self.0.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), 0)
            };
            if length >= 0 {
                bytes.truncate(length as usize);
                return bytes;
            }
            let reset = std::io::Error::last_os_error().raw_os_error();
            assert_eq!(reset, Some(libc::ECONNRESET));
        }
    }

    /// The words of a refusal, which is what comes next.
    fn refusal(&self) -> String {
        String::from_utf8(self.receive()[HEADER..].to_vec()).unwrap()
    }
}

/// What an honest client with a key says, and what it is asked: hello, challenge, proof.
fn overheard(listener: &Listener, path: &Path, key: AuthKey) -> [Vec<u8>; 3] {
    let between = path.with_extension("between");
    let fake = Raw::listen(&between);
    thread::scope(|threads| {
        let client = threads.spawn(|| Connector::new().key(key).connect::<u8, u8>(&between));
        let (client_side, server_side) = (fake.accept(), Raw::connect(path));
        let hello = client_side.receive();
        server_side.send(&hello);
        let challenge = loop {
            assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
            let mut polled =
                libc::pollfd { fd: server_side.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            if unsafe { libc::poll(&raw mut polled, 1, 0) } == 1 {
                break server_side.receive();
            }
        };
        client_side.send(&challenge);
        let proof = client_side.receive();
        drop(client_side);
        assert_eq!(client.join().unwrap().unwrap_err().kind(), ErrorKind::Disconnected);
        std::fs::remove_file(&between).unwrap();
        [hello, challenge, proof]
    })
}

/// What a client and a listener hear that do not get together.
fn both<A: Send>(
    listen: impl FnOnce() -> Result<A, Error>,
    connect: impl FnOnce() -> Option<Error> + Send,
) -> [Error; 2] {
    thread::scope(|threads| {
        let client = threads.spawn(connect);
        let listening = listen().err().expect("nobody was to be let in");
        [listening, client.join().unwrap().expect("nobody was to get in")]
    })
}

#[test]
fn who_sends_other_messages_hears_so_as_does_the_listener() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Order(u64);
    watched("who_sends_other_messages_hears_so_as_does_the_listener", || {
        let (_folder, path) = folder();
        let listener = Listener::bind(&path).unwrap();
        let errors = both(
            || listener.accept::<Vec<Order>, String>(),
            || connect::<String, Vec<u64>>(&path).err(),
        );
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Refused);
            let text = error.to_string();
            assert!(text.contains("`Serde [Order(u64)]`"), "{text}");
            assert!(text.contains("`Serde [u64]`"), "{text}");
        }
        // The two directions may not be exchanged, nor the codecs.
        let errors = both(|| listener.accept::<u8, u16>(), || connect::<u8, u16>(&path).err());
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::Refused));
        let errors = both(
            || listener.accept::<u8, u8>(),
            || Connector::new().plain().connect::<u8, u8>(&path).err(),
        );
        assert!(errors.iter().all(|error| error.to_string().contains("`Plain u8")));
        // And the next one is let in.
        both_get_in(&listener, &path);
    });
}

fn both_get_in(listener: &Listener, path: &Path) {
    thread::scope(|threads| {
        let client = threads.spawn(|| connect::<u8, u8>(path).unwrap());
        let (mut connection, _) = listener.accept::<u8, u8>().unwrap();
        connection.send(7).unwrap();
        assert_eq!(client.join().unwrap().recv().unwrap(), 7);
    });
}

#[test]
fn a_type_of_the_same_name_and_another_size_is_another_type() {
    mod first {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Job(u64);
    }
    mod second {
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Job(u32);
    }
    watched("a_type_of_the_same_name_and_another_size_is_another_type", || {
        let (_folder, path) = folder();
        let listener = Listener::bind(&path).unwrap();
        let errors = both(
            || listener.accept::<first::Job, u8>(),
            || connect::<u8, second::Job>(&path).err(),
        );
        for error in errors {
            let text = error.to_string();
            assert!(text.contains("Job(u64)") && text.contains("Job(u32)"), "{text}");
        }
    });
}

#[test]
fn with_the_same_key_both_get_in() {
    watched("with_the_same_key_both_get_in", || {
        let (_folder, path) = folder();
        let listener = Listener::builder().key(key("one")).bind(&path).unwrap();
        thread::scope(|threads| {
            let client = threads
                .spawn(|| Connector::new().key(key("one")).connect::<u8, u8>(&path).unwrap());
            let (mut connection, _) = listener.accept::<u8, u8>().unwrap();
            connection.send(7).unwrap();
            assert_eq!(client.join().unwrap().recv().unwrap(), 7);
        });
    });
}

#[test]
fn who_has_another_key_or_none_is_refused_by_name() {
    watched("who_has_another_key_or_none_is_refused_by_name", || {
        let (_folder, path) = folder();
        let keyed = || Listener::builder().key(key("one"));
        let with = |text| Connector::new().key(key(text));
        let cases = [
            (keyed(), with("two"), "the two sides have different keys"),
            (keyed(), Connector::new(), "the connecting side has none"),
            (Listener::builder(), with("one"), "the listening side has none"),
        ];
        for (builder, connector, why) in cases {
            let listener = builder.bind(&path).unwrap();
            let errors =
                both(|| listener.accept::<u8, u8>(), || connector.connect::<u8, u8>(&path).err());
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Refused);
                assert!(error.to_string().contains(why), "{error}");
                assert!(!error.to_string().contains("u8"), "types are told to friends: {error}");
            }
        }
    });
}

#[test]
fn types_are_compared_behind_the_key() {
    watched("types_are_compared_behind_the_key", || {
        let (_folder, path) = folder();
        let listener = Listener::builder().key(key("one")).bind(&path).unwrap();
        let errors = both(
            || listener.accept::<u8, u8>(),
            || Connector::new().key(key("one")).connect::<u8, u16>(&path).err(),
        );
        for error in errors {
            assert!(error.to_string().contains("`Serde u16"), "{error}");
        }
    });
}

#[test]
fn what_was_said_in_another_handshake_opens_no_door() {
    watched("what_was_said_in_another_handshake_opens_no_door", || {
        let (_folder, path) = folder();
        let listener = Listener::builder().key(key("one")).bind(&path).unwrap();
        let [hello, challenge, proof] = overheard(&listener, &path, key("one"));
        let replay = Raw::connect(&path);
        replay.send(&hello);
        replay.send(&proof);
        let refused = listener.accept::<u8, u8>().unwrap_err();
        assert!(refused.to_string().contains("different keys"), "{refused}");
        let second = replay.receive();
        assert_eq!(second.len(), challenge.len());
        assert_ne!(second, challenge, "a challenge is never the same");
        assert!(replay.refusal().contains("different keys"));
    });
}

#[test]
fn a_proof_that_is_sent_back_proves_nothing() {
    watched("a_proof_that_is_sent_back_proves_nothing", || {
        let (folder, path) = folder();
        let listener = Listener::builder().key(key("one")).bind(&path).unwrap();
        let [_, challenge, _] = overheard(&listener, &path, key("one"));
        // A listener that knows no key: it says back what it hears, as its own.
        let at = folder.path().join("mirror");
        let mirror = Raw::listen(&at);
        let connecting = |answers: &dyn Fn(&Raw)| {
            thread::scope(|threads| {
                let client =
                    threads.spawn(|| Connector::new().key(key("one")).connect::<u8, u8>(&at));
                answers(&mirror.accept());
                client.join().unwrap().unwrap_err()
            })
        };
        let error = connecting(&|client| {
            client.receive();
            client.send(&challenge);
            let mut welcome = client.receive();
            assert_eq!(welcome[KIND], PROOF);
            welcome[KIND] = WELCOME;
            welcome.extend_from_slice(&0_u32.to_le_bytes());
            client.send(&welcome);
        });
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("does not know the key"), "{error}");
        // One that lets it in without asking; one that says its own words back.
        let error = connecting(&|client| {
            let mut welcome = client.receive();
            welcome.truncate(HEADER);
            welcome[KIND] = WELCOME;
            client.send(&welcome);
        });
        assert!(error.to_string().contains("did not ask for the key"), "{error}");
        let error = connecting(&|client| {
            let hello = client.receive();
            client.send(&hello);
        });
        assert!(error.to_string().contains("does not speak as multiproc does"), "{error}");

        // The same as a client: the listener's own challenge is no proof, whole or in part.
        for tail in [&challenge[HEADER..], &[]] {
            let [hello, ..] = overheard(&listener, &path, key("one"));
            let client = Raw::connect(&path);
            client.send(&hello);
            client.send(&[&challenge[..HEADER], tail].concat());
            assert_eq!(listener.accept::<u8, u8>().unwrap_err().kind(), ErrorKind::Refused);
        }
    });
}

#[test]
fn packets_that_are_cut_changed_or_invented_are_refused() {
    watched("packets_that_are_cut_changed_or_invented_are_refused", || {
        let (_folder, path) = folder();
        let listener = Listener::builder().key(key("one")).bind(&path).unwrap();
        let [hello, _, proof] = overheard(&listener, &path, key("one"));
        let refuse = |packets: &[&[u8]]| {
            let client = Raw::connect(&path);
            packets.iter().for_each(|packet| client.send(packet));
            let error = listener.accept::<u8, u8>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
            error.to_string()
        };
        for length in 1..hello.len() {
            refuse(&[&hello[..length]]);
        }
        for length in 1..proof.len() {
            refuse(&[&hello, &proof[..length]]);
        }
        assert!(refuse(&[&[0; 60_000]]).contains("does not speak"));
        assert!(refuse(&[&hello, &[0; 60_000]]).contains("does not speak"));
        assert!(refuse(&[&hello, &hello]).contains("does not speak"));
        assert!(refuse(&[&proof]).contains("does not speak"));
        assert!(refuse(&[b"GET / HTTP/1.1\r\n\r\n"]).contains("does not speak"));
        let mut state = seed();
        for _ in 0..300 {
            let noise: Vec<u8> =
                (0..=next(&mut state) % 400).map(|_| next(&mut state) as u8).collect();
            let packet = if next(&mut state).is_multiple_of(2) {
                [&hello[..HEADER], &noise].concat()
            } else {
                noise
            };
            refuse(&[&packet, &proof]);
        }
    });
}

#[test]
fn another_version_is_refused_in_words() {
    watched("another_version_is_refused_in_words", || {
        let (_folder, path) = folder();
        let listener = Listener::builder().key(key("one")).bind(&path).unwrap();
        let [mut hello, mut challenge, _] = overheard(&listener, &path, key("one"));
        hello[VERSION] += 1;
        let client = Raw::connect(&path);
        client.send(&hello);
        let error = listener.accept::<u8, u8>().unwrap_err();
        assert!(error.to_string().contains("speaks protocol 2"), "{error}");
        assert!(client.refusal().contains("speaks protocol 2"));
        drop(listener);
        // The connecting side finds it too.
        challenge[VERSION + 4] += 1;
        let fake = Raw::listen(&path);
        let error = thread::scope(|threads| {
            let client =
                threads.spawn(|| Connector::new().key(key("one")).connect::<u8, u8>(&path));
            let client_side = fake.accept();
            client_side.receive();
            client_side.send(&challenge);
            client.join().unwrap().unwrap_err()
        });
        assert!(error.to_string().contains("layout"), "{error}");
    });
}

#[test]
fn file_descriptors_that_nobody_asked_for_are_closed() {
    alone("file_descriptors_that_nobody_asked_for_are_closed", |()| {
        let (_folder, path) = folder();
        let listener = Listener::bind(&path).unwrap();
        let before = open_fds();
        let client = Raw::connect(&path);
        client.send_file(&std::io::stdout());
        let error = listener.accept::<u8, u8>().unwrap_err();
        assert!(error.to_string().contains("file descriptors"), "{error}");
        drop(client);
        assert_eq!(open_fds(), before);
    });
}

/// Closing any file of a process takes its record locks from the file (fcntl(2)), as it has a file
/// system flush the file, which may take as long as it likes.
#[test]
fn a_file_that_nobody_asked_for_is_never_even_opened_here() {
    alone("a_file_that_nobody_asked_for_is_never_even_opened_here", |()| {
        let (folder, path) = folder();
        let listener = Listener::bind(&path).unwrap();
        let name = folder.path().join("locked");
        let file = std::fs::File::create(&name).unwrap();
        let other = std::fs::File::options().read(true).write(true).open(&name).unwrap();
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as i16;
        let ask = |file: &std::fs::File, what| {
            let mut answer = lock;
            assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), what, &raw mut answer) }, 0);
            i32::from(answer.l_type)
        };
        ask(&file, libc::F_SETLK);
        assert_eq!(ask(&other, libc::F_OFD_GETLK), libc::F_WRLCK);
        let client = Raw::connect(&path);
        client.send_file(&file);
        let error = listener.accept::<u8, u8>().unwrap_err();
        assert!(error.to_string().contains("file descriptors"), "{error}");
        assert!(client.refusal().contains("file descriptors"));
        assert_eq!(ask(&other, libc::F_OFD_GETLK), libc::F_WRLCK, "it was closed here");
    });
}

#[test]
fn an_honest_one_in_the_middle_of_a_crowd_gets_in() {
    alone("an_honest_one_in_the_middle_of_a_crowd_gets_in", |()| {
        let (_folder, path) = folder();
        let [hello] = hello_without_key(&path);
        let listener = Listener::bind(&path).unwrap();
        let knock = |count| (0..count).map(|_| Raw::connect(&path)).collect::<Vec<_>>();
        let before = knock(99);
        let honest = Raw::connect(&path);
        honest.send(&hello);
        let behind = knock(100);
        let accepted = (0..300).find_map(|_| listener.try_accept::<u8, u8>().ok().flatten());
        assert_eq!(honest.receive()[KIND], WELCOME);
        assert!(accepted.is_some());
        drop((before, behind));
    });
}

/// Connects so often, and says nothing until it is told to end.
fn come_in_a_crowd((path, uid, mut ready): (PathBuf, u32, Connection<u8, u8>)) {
    if uid != 0 {
        assert_eq!(unsafe { libc::setuid(uid) }, 0);
    }
    let crowd: Vec<_> = (0..200).map(|_| Raw::connect(&path)).collect();
    ready.send(1).unwrap();
    let _ = ready.recv();
    drop(crowd);
}

#[test]
fn a_crowd_pushes_out_its_own_process_first() {
    watched("a_crowd_pushes_out_its_own_process_first", || {
        let (_folder, path) = folder();
        let [hello] = hello_without_key(&path);
        let listener = Listener::bind(&path).unwrap();
        let slow = Raw::connect(&path);
        assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
        let (mut here, there) = Pipe::duplex().unwrap();
        let crowd = Process::spawn(come_in_a_crowd, (path.clone(), 0, there)).unwrap();
        here.recv().unwrap();
        let mut refused = 0;
        while let Err(error) = listener.try_accept::<u8, u8>() {
            assert!(error.to_string().contains(&format!("process {} ", crowd.pid())), "{error}");
            refused += 1;
        }
        assert!(refused >= 64, "{refused}");
        slow.send(&hello);
        while listener.try_accept::<u8, u8>().is_ok_and(|accepted| accepted.is_none()) {}
        assert_eq!(slow.receive()[KIND], WELCOME);
        drop(here);
        crowd.join().unwrap();
    });
}

#[test]
fn knocks_of_those_who_are_not_allowed_keep_nobody_waiting() {
    watched("knocks_of_those_who_are_not_allowed_keep_nobody_waiting", || {
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: another user is tried by root alone");
            return;
        }
        let (folder, path) = folder();
        open_to_all(folder.path());
        let [hello] = hello_without_key(&path);
        let listener = Listener::builder().allow_user(1).bind(&path).unwrap();
        let honest = Raw::connect(&path);
        assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
        let (mut here, there) = Pipe::duplex().unwrap();
        let crowd = Process::spawn(come_in_a_crowd, (path.clone(), 4242, there)).unwrap();
        here.recv().unwrap();
        honest.send(&hello);
        // At once, while 200 others wait.
        assert!(listener.try_accept::<u8, u8>().unwrap().is_some());
        assert_eq!(honest.receive()[KIND], WELCOME);
        // Every one of them is told of.
        for _ in 0..200 {
            let error = listener.try_accept::<u8, u8>().unwrap_err();
            assert!(error.to_string().contains("does not allow this user"), "{error}");
        }
        assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
        drop(here);
        crowd.join().unwrap();
    });
}

fn open_to_all(path: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(path, mode).unwrap();
}

#[test]
fn a_third_user_cannot_pass_on_what_the_two_say() {
    /// Listens where the client looks, knows no key, and lets the two talk with each other.
    fn pass_on((path, between, mut ready): (PathBuf, PathBuf, Connection<u8, u8>)) -> Vec<u8> {
        assert_eq!(unsafe { libc::setuid(4242) }, 0);
        let fake = Raw::listen(&between);
        ready.send(1).unwrap();
        let (client, host) = (fake.accept(), Raw::connect(&path));
        host.send(&client.receive());
        client.send(&host.receive());
        host.send(&client.receive());
        let answer = host.receive();
        client.send(&answer);
        answer
    }
    watched("a_third_user_cannot_pass_on_what_the_two_say", || {
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: another user is tried by root alone");
            return;
        }
        let (folder, path) = folder();
        open_to_all(folder.path());
        let between = folder.path().join("between");
        let listener = Listener::builder().key(key("one")).allow_all_users().bind(&path).unwrap();
        let (mut here, there) = Pipe::duplex().unwrap();
        let args = (path.clone(), between.clone(), there);
        let third = Process::spawn(pass_on, args).unwrap();
        here.recv().unwrap();
        let errors = both(
            || listener.accept::<u8, u8>(),
            || Connector::new().key(key("one")).allow_all_users().connect::<u8, u8>(&between).err(),
        );
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.to_string().contains("somebody is between them"), "{error}");
        }
        assert_ne!(third.join().unwrap()[KIND], WELCOME);
        // Nobody is between them where they speak themselves, whoever they are.
        fn comes(path: PathBuf) -> u8 {
            assert_eq!(unsafe { libc::setuid(4242) }, 0);
            let connector = Connector::new().key(key("one")).allow_user(0);
            connector.connect::<u8, u8>(&path).unwrap().recv().unwrap()
        }
        let client = Process::spawn(comes, path).unwrap();
        listener.accept::<u8, u8>().unwrap().0.send(7).unwrap();
        assert_eq!(client.join().unwrap(), 7);
    });
}

#[test]
fn who_says_nothing_is_refused_and_is_in_nobody_s_way() {
    watched("who_says_nothing_is_refused_and_is_in_nobody_s_way", || {
        let (_folder, path) = folder();
        let patience = Duration::from_millis(30);
        let listener = Listener::builder().handshake_timeout(patience).bind(&path).unwrap();
        let silent = Raw::connect(&path);
        let error = listener.accept::<u8, u8>().unwrap_err();
        assert!(error.to_string().contains("not through with the handshake"), "{error}");
        assert!(silent.refusal().contains("not through"));
        drop(listener);

        let listener = Listener::bind(&path).unwrap();
        let silent: Vec<_> = (0..10).map(|_| Raw::connect(&path)).collect();
        both_get_in(&listener, &path);
        drop(silent);
    });
}

#[test]
fn a_crowd_of_the_silent_does_not_keep_others_out() {
    alone("a_crowd_of_the_silent_does_not_keep_others_out", |()| {
        let (_folder, path) = folder();
        let listener = Listener::bind(&path).unwrap();
        let crowd: Vec<_> = (0..200).map(|_| Raw::connect(&path)).collect();
        thread::scope(|threads| {
            let client = threads.spawn(|| connect::<u8, u8>(&path).unwrap());
            let mut refused = 0;
            let (mut connection, _) = loop {
                match listener.accept::<u8, u8>() {
                    Ok(accepted) => break accepted,
                    Err(error) => {
                        assert!(error.to_string().contains("too many others"), "{error}");
                        refused += 1;
                    }
                }
            };
            connection.send(7).unwrap();
            assert_eq!(client.join().unwrap().recv().unwrap(), 7);
            assert!(refused >= 200 - 2 * 64, "{refused}");
        });
        drop(crowd);
        // Those who were left have gone, and that is no error.
        assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
    });
}

#[test]
fn a_listener_that_says_nothing_is_given_up() {
    watched("a_listener_that_says_nothing_is_given_up", || {
        let (_folder, path) = folder();
        let fake = Raw::listen(&path);
        let error = Connector::new().timeout(Duration::from_millis(20)).connect::<u8, u8>(&path);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Timeout);
        drop(fake);
    });
}

#[test]
fn a_listener_that_dies_in_the_middle_is_an_error() {
    fn dies((path, mut ready): (PathBuf, Connection<u8, u8>)) {
        let fake = Raw::listen(&path);
        ready.send(1).unwrap();
        fake.accept().receive();
        die();
    }
    watched("a_listener_that_dies_in_the_middle_is_an_error", || {
        let (_folder, path) = folder();
        let (mut here, there) = Pipe::duplex().unwrap();
        let child = Process::spawn(dies, (path.clone(), there)).unwrap();
        here.recv().unwrap();
        for key in [None, Some(key("one"))] {
            let connector = key.into_iter().fold(Connector::new(), Connector::key);
            let error = connector.connect::<u8, u8>(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
        }
        assert_killed(child.join());
    });
}

/// A client that is killed when it has said so many things.
fn killed_after((path, hello, proof, said): (PathBuf, Vec<u8>, Vec<u8>, usize)) {
    let client = Raw::connect(&path);
    for packet in [hello, proof].into_iter().take(said) {
        client.send(&packet);
    }
    die();
}

#[test]
fn clients_that_die_in_any_phase_are_no_error_and_leave_nothing() {
    alone("clients_that_die_in_any_phase_are_no_error_and_leave_nothing", |()| {
        let (_folder, path) = folder();
        let listener = Listener::builder().key(key("one")).bind(&path).unwrap();
        let [hello, _, proof] = overheard(&listener, &path, key("one"));
        assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
        let kill = |said: usize| {
            let args = (path.clone(), hello.clone(), proof.clone(), said);
            assert_killed(Process::spawn(killed_after, args).unwrap().join());
        };
        kill(0);
        let before = open_fds();
        for said in [0, 1] {
            kill(said);
            // It takes as long as it takes until the kernel has told.
            until(|| {
                assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
                open_fds() == before
            });
        }
        drop(listener);

        // One that dies with its end of the pipe in the socket, or when it has it.
        let listener = Listener::bind(&path).unwrap();
        let [hello, ..] = hello_without_key(&path);
        for said in [1, 2] {
            let args = (path.clone(), hello.clone(), Vec::from(*b"never read"), said);
            let child = Process::spawn(killed_after, args).unwrap();
            let accepted = loop {
                match listener.try_accept::<u8, u8>() {
                    Ok(Some(accepted)) => break Some(accepted),
                    // It was gone before it could be answered.
                    Ok(None) if !child.is_alive() => break None,
                    _ => {}
                }
            };
            assert_killed(child.join());
            if let Some((mut connection, _)) = accepted {
                assert!(connection.recv().unwrap_err().is_disconnected());
                assert!(connection.send(1).unwrap_err().is_disconnected());
            }
        }
        let child = Process::spawn(|path| drop(connect::<u8, u8>(path).map(|_| die())), path);
        let (mut connection, _) = listener.accept::<u8, u8>().unwrap();
        assert!(connection.recv().unwrap_err().is_disconnected());
        assert_killed(child.unwrap().join());
        drop(connection);
        assert!(listener.try_accept::<u8, u8>().unwrap().is_none());
    });
}

/// The hello of an honest client without a key.
fn hello_without_key(path: &Path) -> [Vec<u8>; 1] {
    let at = path.with_extension("overheard");
    let fake = Raw::listen(&at);
    thread::scope(|threads| {
        let client = threads.spawn(|| connect::<u8, u8>(&at));
        let hello = fake.accept().receive();
        assert!(client.join().unwrap().is_err());
        [hello]
    })
}
