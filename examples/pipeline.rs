//! Counts the words of a folder of files with several processes.
//!
//! ```text
//! cargo run --release --example pipeline -- [DIR] [--workers N] [--kill-one]
//! ```
//!
//! The parent walks DIR (by default the current folder; `.git` and `target` are passed over) and
//! hands the files to worker processes, a few at a time over a pipe each. A worker counts words,
//! runs of non-whitespace, and answers. With `--kill-one` a worker is killed with -9 while it holds
//! files: they are given to others, and nothing is lost.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use multiproc::{Connection, Pipe, Process};
use serde::{Deserialize, Serialize};

/// How many files a worker has at a time: enough that it never waits for the next one.
const WINDOW: usize = 8;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a worker says about one file.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    words: u64,
    bytes: u64,
}

/// A worker process: a file comes in, its count goes out.
fn worker(mut parent: Connection<Result<Count, String>, OsString>) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(path) = parent.recv() {
        let count = count_words(Path::new(&path), &mut buffer).map_err(|cause| cause.to_string());
        if parent.send(count).is_err() {
            return;
        }
    }
}

fn count_words(path: &Path, buffer: &mut [u8]) -> io::Result<Count> {
    let mut file = fs::File::open(path)?;
    let mut count = Count::default();
    let mut in_word = false;
    loop {
        let read = file.read(buffer)?;
        if read == 0 {
            return Ok(count);
        }
        count.bytes += read as u64;
        for byte in &buffer[..read] {
            let is_space = matches!(byte, b' ' | b'\t'..=b'\r');
            count.words += u64::from(!is_space && !in_word);
            in_word = !is_space;
        }
    }
}

/// What the parent has to do, and what has been done.
struct Job {
    todo: Mutex<VecDeque<PathBuf>>,
    total: Mutex<Totals>,
    kill_one: AtomicBool,
}

#[derive(Debug, Default)]
struct Totals {
    files: u64,
    count: Count,
    unreadable: Vec<String>,
}

impl Job {
    /// Keeps one worker busy until nothing is left to do, replacing it if it dies.
    fn attend(&self, number: usize) -> Result<(), Failure> {
        // Bounded by the files: a worker that dies on every file is an error in `replace`.
        let mut deaths = 0;
        loop {
            let (mut here, there) = Pipe::duplex::<OsString, Result<Count, String>>()?;
            let process =
                Process::builder().name(format!("worker-{number}")).spawn(worker, there)?;
            let mut held = VecDeque::new();
            let is_done = self.feed(&mut here, &process, &mut held);
            if is_done {
                drop(here);
                process.join()?;
                return Ok(());
            }
            let pid = process.pid();
            let end = process.join().map_or_else(|end| end.to_string(), |()| "returned".to_owned());
            println!("worker-{number} (pid {pid}): {end}, while it held {} files:", held.len());
            for path in &held {
                println!("  {} is given to another worker", path.display());
            }
            lock(&self.todo).extend(held);
            deaths += 1;
            if deaths > 10 {
                return Err(format!("worker-{number} died {deaths} times").into());
            }
        }
    }

    /// Sends files and takes counts. False if the worker died; then `held` is what it had.
    fn feed(
        &self,
        worker: &mut Connection<OsString, Result<Count, String>>,
        process: &Process<()>,
        held: &mut VecDeque<PathBuf>,
    ) -> bool {
        loop {
            while held.len() < WINDOW {
                let Some(path) = lock(&self.todo).pop_front() else { break };
                let sent = worker.send(path.clone().into_os_string());
                held.push_back(path);
                if sent.is_err() {
                    return false;
                }
            }
            if held.is_empty() {
                return true;
            }
            let Ok(answer) = worker.recv() else { return false };
            let Some(path) = held.pop_front() else { return false };
            self.add(&path, answer);
            // In the middle of its work: it has answered, and it holds more.
            if !held.is_empty() && self.kill_one.swap(false, Ordering::Relaxed) {
                let _ = process.kill();
            }
        }
    }

    fn add(&self, path: &Path, answer: Result<Count, String>) {
        let mut total = lock(&self.total);
        total.files += 1;
        match answer {
            Ok(count) => {
                total.count.words += count.words;
                total.count.bytes += count.bytes;
            }
            Err(cause) => total.unreadable.push(format!("{}: {cause}", path.display())),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// All files under `folder`, in the order of their names.
fn files_under(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !matches!(entry.file_name().to_str(), Some(".git" | "target")) {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn run(files: &[PathBuf], workers: usize, kill_one: bool) -> Result<Totals, Failure> {
    let job = Job {
        todo: Mutex::new(files.iter().cloned().collect()),
        total: Mutex::default(),
        kill_one: AtomicBool::new(kill_one),
    };
    thread::scope(|scope| {
        let job = &job;
        let attendants: Vec<_> =
            (1..=workers).map(|number| scope.spawn(move || job.attend(number))).collect();
        attendants.into_iter().try_for_each(|attendant| {
            attendant.join().unwrap_or_else(|_| Err("an attendant panicked".into()))
        })
    })?;
    // A file that was given back when every other worker had just finished.
    if !lock(&job.todo).is_empty() {
        job.attend(workers + 1)?;
    }
    Ok(job.total.into_inner().unwrap_or_default())
}

fn main() -> Result<(), Failure> {
    let mut folder = PathBuf::from(".");
    let mut workers = multiproc::available_parallelism();
    let mut kill_one = false;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--kill-one") => kill_one = true,
            Some("--workers") => {
                let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
                workers = number.filter(|number| *number > 0).ok_or("--workers takes a number")?;
            }
            Some(option) if option.starts_with('-') => {
                return Err(
                    format!("unknown option {option}: [DIR] [--workers N] [--kill-one]").into()
                );
            }
            _ => folder = argument.into(),
        }
    }
    let files = files_under(&folder)?;

    let start = Instant::now();
    let mut alone = Totals::default();
    let mut buffer = vec![0; 256 << 10];
    for path in &files {
        alone.files += 1;
        match count_words(path, &mut buffer) {
            Ok(count) => alone.count.words += count.words,
            Err(cause) => alone.unreadable.push(format!("{}: {cause}", path.display())),
        }
    }
    let one = start.elapsed();

    let start = Instant::now();
    let total = run(&files, workers, kill_one)?;
    let many = start.elapsed();

    for unreadable in &total.unreadable {
        println!("not counted: {unreadable}");
    }
    let rate = |time: std::time::Duration| files.len() as f64 / time.as_secs_f64();
    println!("files: {}", total.files);
    println!("bytes: {}", total.count.bytes);
    println!("words: {}", total.count.words);
    println!("one process: {one:.1?}, {:.0} files/s", rate(one));
    println!("{workers} processes: {many:.1?}, {:.0} files/s", rate(many));
    if total.count.words != alone.count.words || total.files != alone.files {
        return Err(format!("one process counted {} words", alone.count.words).into());
    }
    Ok(())
}
