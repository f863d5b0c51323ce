//! The data plane's threads: one single-threaded event loop each, so that a request never crosses threads on its way.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The running event loops.
#[derive(Debug)]
pub struct Workers {
    first: Worker,
    others: Vec<Worker>,
    stop: watch::Sender<bool>,
    threads: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    load: Arc<AtomicUsize>,
}

/// One connection's weight on its worker; taken off when dropped.
#[derive(Debug)]
pub struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` (at least one) event loops.
    ///
    /// # Errors
    /// What the system says when it has no thread or no descriptor left.
    pub fn start(count: usize) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut threads = Vec::new();
        let mut spawn = |number: usize| {
            let (worker, thread) = Worker::start(number, stopped.clone())?;
            threads.push(thread);
            Ok::<_, io::Error>(worker)
        };
        let first = spawn(0)?;
        let others = (1..count).map(&mut spawn).collect::<io::Result<Vec<_>>>()?;
        Ok(Self { first, others, stop, threads: parking_lot::Mutex::new(threads) })
    }

    /// The event loop that accepts.
    pub fn first(&self) -> &Handle {
        &self.first.handle
    }

    /// Whether there is but one.
    pub fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    /// The event loop with the fewest connections.
    pub fn least_loaded(&self) -> (&Handle, Load) {
        let worker = std::iter::once(&self.first)
            .chain(&self.others)
            .min_by_key(|worker| worker.load.load(Ordering::Relaxed))
            .unwrap_or(&self.first);
        worker.load.fetch_add(1, Ordering::Relaxed);
        (&worker.handle, Load(Arc::clone(&worker.load)))
    }

    /// Ends the event loops and waits for their threads; whatever still runs on them is dropped.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start(number: usize, mut stopped: watch::Receiver<bool>) -> io::Result<(Self, JoinHandle<()>)> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            runtime.block_on(async { stopped.wait_for(|stop| *stop).await.is_ok() });
        })?;
        Ok((Self { handle, load: Arc::new(AtomicUsize::new(0)) }, thread))
    }
}
