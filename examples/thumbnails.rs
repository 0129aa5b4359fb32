//! Makes a thumbnail of every picture in a folder, with a pool of worker processes.
//!
//! ```text
//! cargo run --release --example thumbnails -- [DIR] [--count N] [--workers N] [--kill-one]
//! ```
//!
//! For every JPEG in DIR a smaller one goes to `DIR/thumbs`, under the same name and at most 75
//! pixels wide and high. Without DIR there are 2000 pictures in a temporary folder. With `--count`
//! so many are drawn first, also into DIR, where they stay.
//!
//! With `--kill-one` a worker is killed with -9 in the middle of its work. The picture that it was
//! at is given to the pool a second time.
//!
//! The last line says how fast the pool was, and how fast one process is. `thumbnails.py` does the
//! same, and says the same, with Python's multiprocessing.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};
use indicatif::ProgressIterator;
use multiproc::{Pool, TaskError};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The most that a thumbnail is wide, and high.
const SIZE: u32 = 75;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A task: makes the thumbnail of one picture.
fn thumbnail(picture: OsString) -> Result<(), String> {
    let make = || {
        let full = image::open(&picture)?;
        let is_small = full.width() <= SIZE && full.height() <= SIZE;
        let small = if is_small { full } else { full.thumbnail(SIZE, SIZE) };
        small.save(thumbnail_of(Path::new(&picture)))
    };
    make().map_err(|cause| cause.to_string())
}

fn thumbnail_of(picture: &Path) -> PathBuf {
    let name = picture.file_name().unwrap_or_default();
    picture.with_file_name("thumbs").join(name)
}

/// A task: draws a picture, three slopes of colour under a grain that `seed` makes.
fn draw((picture, seed): (OsString, u32)) -> Result<(), String> {
    let mut noise = u64::from(seed) + 1;
    let pixels = RgbImage::from_fn(640, 480, |x, y| {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        let grain = noise >> 60;
        let slopes = [x * 3 / 8, y / 2, (x + y + 7 * seed) % 240];
        Rgb(slopes.map(|slope| slope as u8 + grain as u8))
    });
    pixels.save(picture).map_err(|cause| cause.to_string())
}

fn draw_all(pool: &Pool, folder: &Path, count: u32) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let picture = |seed| folder.join(format!("picture-{seed:05}.jpg")).into_os_string();
    let pictures: Vec<_> = (0..count).map(|seed| (picture(seed), seed)).collect();
    for (_, drawn) in pool.imap_unordered(draw, pictures).progress() {
        drawn??;
    }
    Ok(())
}

/// Has the pool make all thumbnails. What went wrong, a line each.
fn with_pool(pool: &Pool, pictures: &[PathBuf], kills_one: bool) -> Vec<String> {
    let path = |number: usize| pictures[number].clone().into_os_string();
    let middle = kills_one.then_some(pictures.len() / 2);
    let mut killed = None;
    let mut lost = Vec::new();
    let mut failures = Vec::new();
    let results = pool.imap_unordered(thumbnail, (0..pictures.len()).map(path));
    for (done, (number, result)) in results.progress().enumerate() {
        if middle == Some(done) {
            killed = kill_a_worker(pool);
        }
        match result {
            Err(death @ TaskError::WorkerDied { .. }) => lost.push((number, death)),
            other => failures.extend(failure(&pictures[number], other)),
        }
    }
    if let Some(pid) = killed {
        println!("killed worker {pid}");
    }
    for (number, death) in lost {
        println!("{}: {death}; once more", pictures[number].display());
        failures.extend(failure(&pictures[number], pool.apply(thumbnail, path(number))));
    }
    failures
}

/// What there is to say about a picture without a thumbnail.
fn failure(picture: &Path, result: Result<Result<(), String>, TaskError>) -> Option<String> {
    let cause = result.map_err(|error| error.to_string()).flatten().err()?;
    Some(format!("{}: {cause}", picture.display()))
}

/// Kills one of the workers with -9. Its process id.
fn kill_a_worker(pool: &Pool) -> Option<u32> {
    let pid = pool.pids().first().copied()?;
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).ok()?;
    Some(pid)
}

/// Makes all thumbnails in this process.
fn alone(pictures: &[PathBuf]) {
    for picture in pictures.iter().progress() {
        // What cannot be done the pool has told.
        let _ = thumbnail(picture.clone().into_os_string());
    }
}

/// How many of the pictures have a thumbnail that is whole and small enough.
fn count_thumbnails(pictures: &[PathBuf]) -> usize {
    let is_right = |picture: &&PathBuf| {
        let thumbnail = image::open(thumbnail_of(picture));
        thumbnail.is_ok_and(|image| image.width() <= SIZE && image.height() <= SIZE)
    };
    pictures.iter().filter(is_right).count()
}

fn jpegs_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_jpeg = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        path.is_file() && (extension == "jpg" || extension == "jpeg")
    };
    let paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut pictures: Vec<_> = paths.collect::<io::Result<_>>()?;
    pictures.retain(is_jpeg);
    pictures.sort();
    Ok(pictures)
}

/// Does the work with no thumbnails left from before, and says how long it took.
fn timed<T>(pictures: &[PathBuf], work: impl FnOnce() -> T) -> (T, Duration) {
    for picture in pictures {
        let _ = fs::remove_file(thumbnail_of(picture));
    }
    let start = Instant::now();
    (work(), start.elapsed())
}

/// What the command line says.
#[derive(Default)]
struct Options {
    folder: Option<PathBuf>,
    count: Option<u32>,
    workers: Option<usize>,
    kills_one: bool,
}

impl Options {
    fn read() -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut arguments = std::env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || -> Option<u32> { arguments.next()?.to_str()?.parse().ok() };
            match argument.to_str() {
                Some("--kill-one") => options.kills_one = true,
                Some("--count") => options.count = Some(number().ok_or("--count takes a number")?),
                Some("--workers") => {
                    options.workers = Some(number().ok_or("--workers takes a number")? as usize);
                }
                Some(option) if option.starts_with('-') => {
                    let usage = "[DIR] [--count N] [--workers N] [--kill-one]";
                    return Err(format!("unknown option {option}: {usage}").into());
                }
                _ => options.folder = Some(argument.into()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Failure> {
    let options = Options::read()?;
    let workers = options.workers.unwrap_or_else(multiproc::available_parallelism);
    let pool = Pool::new(workers)?;

    // Removed when `main` ends.
    let temporary = tempfile::tempdir()?;
    let count = options.count.or(options.folder.is_none().then_some(2000));
    let folder = options.folder.as_deref().unwrap_or(temporary.path());
    if let Some(count) = count {
        draw_all(&pool, folder, count)?;
    }
    let pictures = jpegs_in(folder)?;
    if pictures.is_empty() {
        return Err(format!("no JPEG in {}", folder.display()).into());
    }
    fs::create_dir_all(folder.join("thumbs"))?;

    // The pool goes first: what it reads from the disk, one process finds in memory.
    let (failures, many) = timed(&pictures, || with_pool(&pool, &pictures, options.kills_one));
    let made = count_thumbnails(&pictures);
    let ((), one) = timed(&pictures, || alone(&pictures));

    for failure in &failures {
        println!("{failure}");
    }
    println!("thumbnails: {made} of {}, none larger than {SIZE}x{SIZE}", pictures.len());
    let rate = |time: Duration| pictures.len() as f64 / time.as_secs_f64();
    println!(
        "images/s: {:.0} with one process, {:.0} with {workers} workers, {:.2} times as many",
        rate(one),
        rate(many),
        rate(many) / rate(one)
    );
    if !failures.is_empty() || made < pictures.len() {
        return Err("not every picture has its thumbnail".into());
    }
    Ok(())
}
