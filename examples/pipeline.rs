//! Counts the words of a folder of files with several processes.
//!
//! ```text
//! cargo run --release --example pipeline -- [DIR] [--workers N] [--kill-one] [--stop-one]
//! ```
//!
//! The parent walks DIR (by default the current folder; `.git` and `target` are passed over) and
//! puts the files into a queue. Worker processes take them, one at a time, count words, runs of
//! non-whitespace, and put the counts into another queue.
//!
//! With `--kill-one` a worker is killed with -9 in the middle of its work: the file that it had in
//! its hands is delivered to another one. With `--stop-one` a worker is stopped instead, for the
//! whole run: the others do not notice, and what it had in its hands is the last file to be
//! counted. Every file is counted once.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use multiproc::{Process, Queue, Receiver, Sender};
use serde::{Deserialize, Serialize};

/// How many files, or counts, wait in a queue at most.
const WAITING: usize = 256;

/// The signal that stops a process, on Linux.
const SIGSTOP: i32 = 19;

const USAGE: &str = "usage: pipeline [DIR] [--workers N] [--kill-one] [--stop-one]";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The files to count, each with its number, and their counts.
type Files = Receiver<(usize, OsString)>;
type Counts = Sender<(usize, Result<Count, String>)>;

/// What a worker says about one file.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    words: u64,
    bytes: u64,
}

/// A worker process: files come in, counts go out.
fn worker((mut files, mut counts): (Files, Counts)) {
    let mut buffer = vec![0; 256 << 10];
    // While the guard lives, the file is in our hands: should we die, somebody else gets it.
    while let Ok(file) = files.recv_guard() {
        let Ok((number, path)) = file.get() else { continue };
        let count = count_words(Path::new(&path), &mut buffer).map_err(|cause| cause.to_string());
        if counts.send((number, count)).is_err() {
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

/// What happens to one of the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    None,
    Kill,
    Stop,
}

#[derive(Debug, Default)]
struct Totals {
    files: usize,
    count: Count,
    unreadable: Vec<String>,
}

impl Totals {
    fn add(&mut self, path: &Path, answer: Result<Count, String>) {
        self.files += 1;
        match answer {
            Ok(count) => {
                self.count.words += count.words;
                self.count.bytes += count.bytes;
            }
            Err(cause) => self.unreadable.push(format!("{}: {cause}", path.display())),
        }
    }
}

/// All files under `folder`, in the order of their names.
fn files_under(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder);
        for entry in entries.map_err(|cause| format!("{}: {cause}", folder.display()))? {
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

/// The workers, and the ends of the queues that a new one needs.
struct Crew {
    files: Files,
    counts: Counts,
    workers: Vec<Process<()>>,
}

impl Crew {
    fn hire(&mut self) -> Result<(), Failure> {
        let name = format!("worker-{}", self.workers.len() + 1);
        let ends = (self.files.try_clone()?, self.counts.try_clone()?);
        self.workers.push(Process::builder().name(name).spawn(worker, ends)?);
        Ok(())
    }

    /// A worker with a file in its hands, if there is one at this moment.
    fn busy_one(&self) -> Option<&Process<()>> {
        let handles = self.files.info().handles;
        let busy = handles.iter().find(|handle| handle.holds_message)?;
        self.workers.iter().find(|worker| worker.pid() == busy.pid)
    }

    /// Lets a worker have its accident, and hires another one where that is needed. The pid of
    /// the first.
    fn have(&mut self, accident: Accident) -> Result<u32, Failure> {
        let victim = (0..1000).find_map(|_| self.busy_one()).unwrap_or(&self.workers[0]);
        let pid = victim.pid();
        match accident {
            Accident::None => return Ok(pid),
            Accident::Kill => victim.kill()?,
            Accident::Stop => victim.signal(SIGSTOP)?,
        }
        if accident == Accident::Kill || self.workers.len() == 1 {
            self.hire()?;
        }
        Ok(pid)
    }

    /// Waits until all are gone, and says of whom it is worth telling how.
    fn dismiss(self) {
        for worker in self.workers {
            let (name, pid) = (worker.name().to_owned(), worker.pid());
            if let Err(end) = worker.join() {
                println!("{name} (pid {pid}): {end}");
            }
        }
    }
}

fn run(paths: &[PathBuf], workers: usize, accident: Accident) -> Result<Totals, Failure> {
    let (mut to_count, files) = Queue::builder().redeliver(true).channel(WAITING)?;
    let (counts, mut counted) = Queue::channel(WAITING)?;
    let mut crew = Crew { files, counts, workers: Vec::new() };
    (0..workers).try_for_each(|_| crew.hire())?;
    let mut totals = Totals::default();
    let mut is_counted = vec![false; paths.len()];
    let mut victim = 0;
    thread::scope(|scope| {
        scope.spawn(move || {
            // The end of the queue is the drop of its only sender.
            let numbered = paths.iter().enumerate();
            numbered
                .map(|(number, path)| (number, path.clone().into_os_string()))
                .all(|file| to_count.send(file).is_ok())
        });
        while totals.files < paths.len() {
            let (number, answer) = counted.recv()?;
            // Who dies between the count and the end of its guard has counted, and the next one
            // does so again.
            if std::mem::replace(&mut is_counted[number], true) {
                continue;
            }
            totals.add(&paths[number], answer);
            if totals.files == 1 {
                victim = crew.have(accident)?;
            }
            // All that can be missing is in the hands of the one that is stopped.
            if accident == Accident::Stop && totals.files + 1 >= paths.len() {
                crew.workers
                    .iter()
                    .filter(|worker| worker.pid() == victim)
                    .try_for_each(|stopped| stopped.kill())?;
            }
        }
        Ok::<_, Failure>(())
    })?;
    let stats = crew.files.stats();
    println!("files sent {}, delivered again {}", stats.sent, stats.redelivered);
    crew.dismiss();
    Ok(totals)
}

fn main() -> Result<(), Failure> {
    let mut folder = PathBuf::from(".");
    let mut workers = multiproc::available_parallelism();
    let mut accident = Accident::None;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--kill-one") => accident = Accident::Kill,
            Some("--stop-one") => accident = Accident::Stop,
            Some("--workers") => {
                let number = arguments.next().and_then(|number| number.to_str()?.parse().ok());
                workers = number.filter(|number| *number > 0).ok_or("--workers takes a number")?;
            }
            Some("--help") => {
                println!("{USAGE}");
                return Ok(());
            }
            Some(option) if option.starts_with('-') => {
                return Err(format!("unknown option {option}; {USAGE}").into());
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
    let total = run(&files, workers, accident)?;
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
