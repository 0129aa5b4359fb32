//! How a pool begins: a thread for each worker, which starts it and tells whether it could.

use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;

use crate::error::{Context, Error, ErrorKind, Result};
use crate::sys::task as system;

use super::error::TaskError;
use super::minder::Minder;
use super::plan::Plan;
use super::shared::Shared;
use super::{Pool, interrupt};

impl Pool {
    pub(super) fn start(plan: Plan) -> Result<Self> {
        let cpus = if plan.is_pinned { cpus() } else { Vec::new() };
        let shared = Shared::new(plan);
        let pool = Self {
            shared: Arc::clone(&shared),
            minders: Mutex::default(),
            gone: Condvar::new(),
            _listening: if shared.plan.ctrl_c { Some(interrupt::listen(&shared)?) } else { None },
        };
        let (report, reports) = mpsc::channel();
        for index in 0..shared.plan.workers {
            let minder = Minder::new(&shared, index);
            let report = report.clone();
            let cpu = cpus.get(index % cpus.len().max(1)).copied();
            let life = thread::Builder::new().name(format!("pool-{}", index + 1));
            let life = life.spawn(move || mind(minder, cpu, &report));
            let life = life.context(|| "start a thread of a pool".to_owned())?;
            let mut minders = pool.minders();
            minders.ids.push(life.thread().id());
            minders.lives.push(life);
        }
        drop(report);
        for _ in 0..shared.plan.workers {
            // Whoever fails ends the pool by its drop, and so does who panics and says nothing.
            reports.recv().unwrap_or_else(|_| Err(panicked().into()))?;
        }
        Ok(pool)
    }
}

/// The life of a pool's thread.
fn mind(mut minder: Minder, cpu: Option<usize>, report: &mpsc::Sender<Result<(), TaskError>>) {
    let _serving = minder.shared.identity.serve();
    if let Some(cpu) = cpu {
        let _ = system::set_affinity(&system::only_cpu(cpu));
    }
    let hired = if minder.is_lazy() { Ok(()) } else { minder.hire() };
    let is_hired = hired.is_ok();
    let _ = report.send(hired);
    if is_hired {
        minder.run();
    }
}

#[cold]
fn panicked() -> Error {
    Error::new(ErrorKind::Worker, "a thread of a pool panicked as it started its worker")
}

/// The CPUs that this thread may use.
fn cpus() -> Vec<usize> {
    let words = system::affinity().unwrap_or_default();
    let is_set = |cpu: &usize| words[cpu / 64] >> (cpu % 64) & 1 == 1;
    (0..words.len() * 64).filter(is_set).collect()
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Initial, Initializer};
    use super::*;

    struct Panics;

    impl Initializer for Panics {
        fn work(&self) -> Initial {
            panic!("as something may that nobody thought of");
        }
    }

    #[test]
    fn a_thread_that_panics_as_it_begins_is_an_error() {
        let mut builder = Pool::builder().workers(2).in_process(true);
        builder.plan.initializer = Some(Arc::new(Panics));
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Worker, "{error}");
    }
}
