//! Hostile weather: limits of the process. What is one too many is a clear error, and afterwards
//! everything goes on.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "tests limit themselves")]

mod common;

use std::thread;

use common::tour::{self, Luggage};
use common::{alone, forbid_with, open_fds, until};
use multiproc::{
    Array, Barrier, Condition, Error, ErrorKind, Event, Lock, Name, Pipe, Pool, Process, Queue,
    RwLock, Semaphore, Value,
};

type Resource = libc::__rlimit_resource_t;

fn limit(resource: Resource) -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit
}

fn set_limit(resource: Resource, limit: libc::rlimit) {
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// Calls `body` under a limit.
fn with<R>(resource: Resource, most: u64, body: impl FnOnce() -> R) -> R {
    let before = limit(resource);
    set_limit(resource, libc::rlimit { rlim_cur: most, ..before });
    let result = body();
    set_limit(resource, before);
    result
}

type Make = (&'static str, fn() -> Result<(), Error>);

/// How many elements take 64 MiB.
const LARGE: usize = 8 << 20;

/// Everything that can be made.
const MAKERS: [Make; 15] = [
    ("pipe", || Pipe::duplex::<u64, u64>().map(drop)),
    ("queue", || Queue::<u64>::bounded(10).map(drop)),
    ("growing queue", || Queue::<u64>::unbounded().map(drop)),
    ("named queue", || {
        let name = Name::new(&format!("weather-{}", std::process::id()))?;
        let _ = Queue::<u64>::create(&name, 10)?;
        name.unlink().map(drop)
    }),
    ("lock", || Lock::new().map(drop)),
    ("rwlock", || RwLock::new().map(drop)),
    ("semaphore", || Semaphore::new(1).map(drop)),
    ("condition", || Condition::new().map(drop)),
    ("event", || Event::new().map(drop)),
    ("barrier", || Barrier::new(2).map(drop)),
    ("value", || Value::new(1_u64).map(drop)),
    ("array", || Array::new(1000, 1_u64).map(drop)),
    ("large array", || Array::new(LARGE, 1_u64).map(drop)),
    ("sparse array", || Array::<u64>::sparse(LARGE).map(drop)),
    ("pool", || Pool::new(2).map(drop)),
];

/// Each of the makers under a limit: what it says, if it fails. All work without the limit.
fn make_all(resource: Resource, most: fn() -> u64) -> Vec<(&'static str, Option<Error>)> {
    let results: Vec<_> =
        MAKERS.iter().map(|(name, make)| (*name, with(resource, most(), make).err())).collect();
    for (name, make) in MAKERS {
        make().unwrap_or_else(|error| panic!("{name} without the limit: {error}"));
    }
    results
}

#[test]
fn too_few_file_descriptors_are_a_clear_error_everywhere() {
    alone("too_few_file_descriptors", |()| {
        let luggage = Luggage::new().unwrap();
        let highest = || open_fds() as u64 - 1;
        for (name, error) in make_all(libc::RLIMIT_NOFILE, highest) {
            println!("without fds, {name}: {error:?}");
            // Small objects have room in the arena that is there already.
            if let Some(error) = error {
                assert_eq!(error.kind(), ErrorKind::Limit, "{name}: {error}");
            } else {
                assert!(!name.contains("arge") && name != "pool" && !name.contains(" queue"));
            }
        }
        luggage.use_all().unwrap();
        tour::all().unwrap();
    });
}

/// How many bytes of addresses this process has.
fn addresses() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn too_little_address_space_is_a_clear_error() {
    alone("too_little_address_space", |()| {
        let luggage = Luggage::new().unwrap();
        for (name, error) in make_all(libc::RLIMIT_AS, || addresses() + (1 << 20)) {
            println!("without addresses, {name}: {error:?}");
            if let Some(error) = error {
                assert!(matches!(error.kind(), ErrorKind::Memory | ErrorKind::Limit), "{error:?}");
            } else {
                assert!(!name.contains("arge") && name != "growing queue");
            }
        }
        luggage.use_all().unwrap();
        tour::all().unwrap();
    });
}

#[test]
fn files_that_may_not_be_large_are_a_clear_error() {
    alone("files_that_may_not_be_large", |()| {
        // By default the signal ends the process; whoever sets the limit decides.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let luggage = Luggage::new().unwrap();
        for (name, error) in make_all(libc::RLIMIT_FSIZE, || 1 << 20) {
            println!("without large files, {name}: {error:?}");
            if let Some(error) = error {
                assert_eq!(error.raw_os_error(), Some(libc::EFBIG), "{name}: {error}");
            }
        }
        luggage.use_all().unwrap();
        tour::all().unwrap();
    });
}

/// A process in which there is no shared memory any more, among others that have theirs.
#[test]
fn shared_memory_that_is_used_up_is_a_clear_error() {
    fn use_up(luggage: Luggage) {
        let (mut sender, mut receiver) = Pipe::builder().capacity(4096).simplex().unwrap();
        let mut queue = Queue::unbounded().unwrap();
        let sparse = Array::<u64>::sparse(LARGE).unwrap();
        // ENOSPC is what tmpfs says; holes may be punched still.
        forbid_with(libc::SYS_fallocate, Some((1, 0)), libc::ENOSPC);
        for (name, make) in MAKERS {
            let error = make().expect_err(name);
            println!("without memory, {name}: {error:?}");
            assert!(matches!(error.kind(), ErrorKind::Memory | ErrorKind::Limit), "{error:?}");
        }
        // A queue grows until there is no more, and gives the message back.
        let mut sent = 0;
        let unsent = loop {
            match queue.send(vec![sent; 5]) {
                Ok(()) => sent += 1,
                Err(unsent) => break unsent,
            }
            assert!(sent < 1_000_000);
        };
        println!("a queue without memory, after {sent} messages: {unsent}");
        assert_eq!(unsent.error().unwrap().kind(), ErrorKind::Memory, "{unsent:?}");
        assert_eq!(unsent.into_inner(), vec![sent; 5]);
        (0..sent).for_each(|number| assert_eq!(queue.recv().unwrap(), vec![number; 5]));
        queue.send(vec![1]).unwrap();
        assert_eq!(queue.recv().unwrap(), [1]);
        // What has its memory goes on.
        sender.send("here".to_owned()).unwrap();
        assert_eq!(receiver.recv().unwrap(), "here");
        assert_eq!(sparse.len(), LARGE);
        luggage.use_all().unwrap();
    }
    alone("shared_memory_that_is_used_up", |()| {
        let luggage = Luggage::new().unwrap();
        Process::spawn(use_up, luggage.clone()).unwrap().join().unwrap();
        luggage.use_all().unwrap();
        tour::all().unwrap();
    });
}

#[test]
fn too_few_processes_are_a_clear_error_for_a_pool() {
    fn make_pool(most: u64) -> Result<(), (String, String)> {
        let before = limit(libc::RLIMIT_NPROC);
        if unsafe { libc::getuid() } == 0 {
            assert_eq!(unsafe { libc::setuid(64_321 + most as u32) }, 0);
        }
        let made = with(libc::RLIMIT_NPROC, most, || Pool::new(3).map(drop));
        set_limit(libc::RLIMIT_NPROC, before);
        // Those that it had end in peace. A fork server keeps the limits that it began with.
        until(|| multiproc::active_children().is_empty());
        common::server().iter().for_each(|pid| unsafe {
            libc::kill(*pid as i32, libc::SIGKILL);
        });
        tour::all().unwrap();
        made.map_err(|error| (format!("{:?}", error.kind()), error.to_string()))
    }
    let _watchdog = common::watchdog("too_few_processes");
    if unsafe { libc::getuid() } != 0 {
        println!("skipped: this user has processes already");
        return;
    }
    for most in [1, 3, 5, 7, 9, 12, 64] {
        let result = Process::spawn(make_pool, most).unwrap().join().unwrap();
        println!("a pool in {most} processes: {result:?}");
        match result {
            Ok(()) => assert!(most > 7),
            Err(_) if most == 64 => panic!("a pool of three is not that large"),
            Err((kind, text)) => assert!(kind == "Limit" || kind == "Worker", "{kind}: {text}"),
        }
    }
}

/// What the kernel gives each process may be little: no core, a small stack, the last of the turns.
#[test]
fn a_modest_process_works() {
    alone("a_modest_process", |()| {
        for (resource, most) in [(libc::RLIMIT_CORE, 0), (libc::RLIMIT_STACK, 256 << 10)] {
            set_limit(resource, libc::rlimit { rlim_cur: most, rlim_max: most });
        }
        unsafe {
            libc::setpriority(libc::PRIO_PROCESS, 0, 19);
            let mut cpus: libc::cpu_set_t = std::mem::zeroed();
            let size = size_of_val(&cpus);
            assert_eq!(libc::sched_getaffinity(0, size, &raw mut cpus), 0);
            let last = (0..8 * size).rfind(|cpu| libc::CPU_ISSET(*cpu, &cpus)).unwrap();
            libc::CPU_ZERO(&mut cpus);
            libc::CPU_SET(last, &mut cpus);
            assert_eq!(libc::sched_setaffinity(0, size, &raw const cpus), 0);
        }
        assert_eq!(thread::available_parallelism().unwrap().get(), 1);
        tour::all().unwrap();
    });
}
