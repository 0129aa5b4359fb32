//! Looks at programs that use this crate while they run, without disturbing them.
//!
//! ```sh
//! cargo run --release --example inspect                 # what has names, of this user
//! cargo run --release --example inspect -- jobs         # what has this name
//! cargo run --release --example inspect -- 4711         # what this process has
//! cargo run --release --example inspect -- jobs --once  # one look, and the end
//! cargo run --release --example inspect -- jobs --json  # the same for other programs
//! ```
//!
//! In a terminal it looks once a second, until Ctrl-C.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _, stdout};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use multiproc::inspect::{
    self, History, ObjectInfo, ObjectState, ParticipantInfo, ParticipantState, PipeEnd, PipeUnit,
    Poison, SegmentInfo,
};

const USAGE: &str = "usage: inspect [NAME | PID] [--once | --json]";

/// What to look at.
enum Subject {
    AllNames,
    Name(String),
    Process(u32),
}

/// How to tell it.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Again,
    Once,
    Json,
}

fn main() -> ExitCode {
    let done = arguments().and_then(|(subject, manner)| run(&subject, manner));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inspect: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn arguments() -> Outcome<(Subject, Manner)> {
    let (mut subject, mut manner) = (Subject::AllNames, Manner::Again);
    for argument in std::env::args().skip(1) {
        match (argument.as_str(), &subject) {
            ("--once", _) => manner = Manner::Once,
            ("--json", _) => manner = Manner::Json,
            (flag, _) if flag.starts_with("--") => return Err(USAGE.into()),
            (number, Subject::AllNames) if number.bytes().all(|digit| digit.is_ascii_digit()) => {
                subject = Subject::Process(number.parse()?);
            }
            (name, Subject::AllNames) => subject = Subject::Name(name.to_owned()),
            _ => return Err(USAGE.into()),
        }
    }
    if manner == Manner::Again && !stdout().is_terminal() {
        manner = Manner::Once;
    }
    Ok((subject, manner))
}

fn look(subject: &Subject) -> multiproc::Result<Vec<SegmentInfo>> {
    match subject {
        Subject::AllNames => inspect::names(),
        Subject::Name(name) => inspect::name(name).map(|segment| vec![segment]),
        Subject::Process(pid) => inspect::process(*pid),
    }
}

fn run(subject: &Subject, manner: Manner) -> Outcome<()> {
    let mut history = History::new();
    loop {
        let segments = look(subject)?;
        history.note(&segments);
        let page = match manner {
            Manner::Json => serde_json::to_string_pretty(&segments)? + "\n",
            _ if segments.is_empty() => match subject {
                Subject::Process(pid) => format!("process {pid} has nothing of this crate\n"),
                _ => "there are no names\n".to_owned(),
            },
            _ => page(&segments, &history)?,
        };
        if manner != Manner::Again {
            stdout().write_all(page.as_bytes())?;
            return Ok(());
        }
        // Home, the page, and nothing below it: clearing all of it first would flicker.
        let lines = page.replace('\n', "\x1b[K\n");
        write!(stdout(), "\x1b[H{lines}\x1b[J")?;
        stdout().flush()?;
        sleep(Duration::from_secs(1));
    }
}

fn page(segments: &[SegmentInfo], history: &History) -> Result<String, fmt::Error> {
    let mut page = String::new();
    for segment in segments {
        // The first digits tell those without a name from each other.
        let unnamed = || format!("(no name) {:.8}", segment.uuid);
        let name = segment.name.clone().unwrap_or_else(unnamed);
        let (memory, size) = (Bytes(segment.memory), Bytes(segment.size));
        write!(page, "{name}: {memory} of memory, {size} of addresses")?;
        if let Some(label) = &segment.label {
            write!(page, "; a {label}")?;
        }
        writeln!(page)?;
        if let Some(damage) = &segment.damage {
            writeln!(page, "  DAMAGED: {damage}")?;
        }
        if segment.deaths > 0 {
            writeln!(page, "  {} have died here, and were buried", segment.deaths)?;
        }
        for participant in &segment.participants {
            writeln!(page, "  participant {}", Person(participant))?;
        }
        for object in &segment.objects {
            show(&mut page, segment, object, history)?;
        }
    }
    Ok(page)
}

fn show(
    page: &mut String,
    segment: &SegmentInfo,
    object: &ObjectInfo,
    history: &History,
) -> fmt::Result {
    let who = |number: u32| Who { segment, number };
    writeln!(page, "  {} {}: {}", object.kind, object.block, State(segment, object))?;
    if let Some(rates) = history.rates(segment, object) {
        writeln!(page, "      {:.0} in and {:.0} out, in a second", rates.sent, rates.received)?;
    }
    if let ObjectState::Queue { handles, .. } = &object.state {
        for handle in handles {
            let does = match (handle.sends, handle.receives) {
                _ if handle.is_orphan => "was left by a dead one, with a message in it",
                (true, true) => "sends and receives",
                (true, false) => "sends",
                (false, true) => "receives",
                (false, false) => "delivers what a dead one had",
            };
            writeln!(page, "      handle of {}: {does}", who(handle.participant))?;
        }
    }
    for hold in &object.holds {
        let time = Time(history.held_for(segment, object, hold));
        writeln!(page, "      {} has {}{time}", who(hold.participant), hold.what)?;
    }
    for wait in &object.waits {
        let time = Time(history.waited_for(segment, object, wait));
        match wait.participant {
            Some(number) => writeln!(page, "      {} waits for {}{time}", who(number), wait.what)?,
            None => writeln!(page, "      somebody may wait for {}{time}", wait.what)?,
        }
    }
    Ok(())
}

/// How an object is, in a line.
struct State<'a>(&'a SegmentInfo, &'a ObjectInfo);

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(segment, object) = self;
        match &object.state {
            ObjectState::Unfinished { by } => {
                write!(f, "being made or torn down by {}", Who { segment, number: *by })
            }
            ObjectState::Plain => write!(f, "held by {} participants", object.users.len()),
            ObjectState::Lock { poison, data } => {
                f.write_str(if object.holds.is_empty() { "free" } else { "taken" })?;
                if *data > 0 {
                    write!(f, ", with {} of data", Bytes(*data))?;
                }
                match poison {
                    Some(Poison::OwnerDied { pid }) => write!(f, ", process {pid} died with it"),
                    Some(_) => write!(f, ", an owner panicked"),
                    None => Ok(()),
                }
            }
            ObjectState::Semaphore { available, began_with, permits } => {
                write!(f, "{available} permits left, began with {began_with}, {permits:?}")
            }
            ObjectState::Condition { signalled } => {
                write!(f, "{} wait, {signalled} are signalled", object.waits.len())
            }
            ObjectState::Event { is_set } => f.write_str(if *is_set { "set" } else { "not set" }),
            ObjectState::Barrier { is_broken: true, .. } => f.write_str("BROKEN"),
            ObjectState::Barrier { parties, arrived, .. } => {
                write!(f, "{arrived} of {parties} parties are there")
            }
            ObjectState::Queue { .. } => queue(f, &object.state),
            ObjectState::Pipe { .. } => pipe(f, &object.state),
            ObjectState::Damaged => f.write_str("DAMAGED"),
            other => write!(f, "{other:?}"),
        }
    }
}

fn queue(f: &mut fmt::Formatter<'_>, state: &ObjectState) -> fmt::Result {
    let ObjectState::Queue { depth, capacity, is_closed, stats, .. } = state else { return Ok(()) };
    match depth {
        Some(depth) => write!(f, "{depth}")?,
        None => f.write_str("too many to count")?,
    }
    match capacity {
        Some(capacity) => write!(f, " of {capacity} messages")?,
        None => f.write_str(" messages, grows")?,
    }
    if let Some(stats) = stats {
        write!(f, "; {} sent, {} received, {} lost", stats.sent, stats.received, stats.lost)?;
        if stats.redelivered > 0 {
            write!(f, ", {} delivered again", stats.redelivered)?;
        }
    }
    f.write_str(if *is_closed { "; closed" } else { "" })
}

fn pipe(f: &mut fmt::Formatter<'_>, state: &ObjectState) -> fmt::Result {
    let ObjectState::Pipe { writer, reader, unit, capacity, sent_and_received, .. } = state else {
        return Ok(());
    };
    match (sent_and_received, unit) {
        (Some((sent, received)), PipeUnit::Messages) => {
            write!(f, "{} of {capacity} messages", sent.wrapping_sub(*received))?;
        }
        (Some((sent, received)), _) => {
            let fill = Bytes(sent.wrapping_sub(*received));
            write!(f, "{fill} of {}", Bytes(*capacity))?;
        }
        (None, _) => f.write_str("what is in it is not known")?,
    }
    write!(f, "; from {} to {}", Side(writer), Side(reader))
}

/// An end of a pipe.
struct Side<'a>(&'a PipeEnd);

impl fmt::Display for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            PipeEnd { has_died: true, .. } => f.write_str("one who died"),
            PipeEnd { is_closed: true, .. } => f.write_str("nobody any more"),
            PipeEnd { pid: 0, .. } => f.write_str("nobody yet"),
            PipeEnd { pid, .. } => write!(f, "process {pid}"),
        }
    }
}

/// A participant by its number.
struct Who<'a> {
    segment: &'a SegmentInfo,
    number: u32,
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.segment.participant(self.number) {
            Some(ParticipantInfo { state: ParticipantState::Alive, pid, program, .. }) => {
                write!(f, "{pid} ({})", program.as_deref().unwrap_or("?"))
            }
            Some(ParticipantInfo { state: ParticipantState::Dead, pid, .. }) => {
                write!(f, "{pid} (DEAD)")
            }
            Some(participant) => Person(participant).fmt(f),
            None => write!(f, "participant {}, who is gone", self.number),
        }
    }
}

/// A participant, and where it stands.
struct Person<'a>(&'a ParticipantInfo);

impl fmt::Display for Person<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParticipantInfo { number, pid, state, program, is_stopped, .. } = self.0;
        write!(f, "{number}: ")?;
        match state {
            ParticipantState::Alive => {
                write!(f, "{pid} ({})", program.as_deref().unwrap_or("?"))?;
                f.write_str(if *is_stopped { ", stopped" } else { "" })
            }
            ParticipantState::Parcel => f.write_str("a parcel on its way"),
            ParticipantState::Dead => write!(f, "{pid}, DEAD and not buried"),
            ParticipantState::Buried { by } => write!(f, "{pid}, DEAD, being buried by {by}"),
            ParticipantState::Name => f.write_str("the name"),
            ParticipantState::Expected => f.write_str("set aside for who comes"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// For how long something has been seen.
struct Time(Option<Duration>);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) if time.as_secs() > 0 => write!(f, ", seen for {} s", time.as_secs()),
            _ => Ok(()),
        }
    }
}

/// A number of bytes, for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        let mut size = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while size >= 1024.0 && unit + 1 < UNITS.len() {
            size /= 1024.0;
            unit += 1;
        }
        write!(f, "{size:.1} {}", UNITS[unit])
    }
}
