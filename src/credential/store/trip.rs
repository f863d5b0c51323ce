//! For tests: a disk that fails at a step of their choosing, or is full after so many bytes.

use std::io;
use std::sync::Mutex;

use rustix::io::Errno;

/// Counts steps and bytes, and fails as told.
#[derive(Debug, Default)]
pub struct Trip(Mutex<Plan>);

#[derive(Debug, Default)]
struct Plan {
    steps: usize,
    /// The step that fails, and all after it if that is so.
    fails: Option<(usize, Errno, bool)>,
    /// How many bytes still fit.
    room: Option<usize>,
    cut: bool,
}

impl Trip {
    /// From now on, the step of that number fails; `for_good`: and those after it.
    pub fn fail(&self, step: usize, errno: Errno, for_good: bool) {
        *self.0.lock().unwrap() = Plan { fails: Some((step, errno, for_good)), ..Plan::default() };
    }

    /// From now on, that many bytes can be written, and no more.
    pub fn full_after(&self, bytes: usize) {
        *self.0.lock().unwrap() = Plan { room: Some(bytes), ..Plan::default() };
    }

    /// Nothing fails any more. Returns how many steps there were.
    pub fn heal(&self) -> usize {
        std::mem::take(&mut *self.0.lock().unwrap()).steps
    }

    pub(super) fn step(&self) -> io::Result<()> {
        let mut plan = self.0.lock().unwrap();
        let now = plan.steps;
        plan.steps += 1;
        match plan.fails {
            Some((step, errno, for_good)) if now == step || (for_good && now > step) => Err(errno.into()),
            _ => Ok(()),
        }
    }

    /// How many of that many bytes fit.
    pub(super) fn room(&self, wanted: usize) -> usize {
        let mut plan = self.0.lock().unwrap();
        let Some(room) = plan.room else { return wanted };
        let fits = wanted.min(room);
        plan.room = Some(room - fits);
        plan.cut = fits < wanted;
        fits
    }

    pub(super) fn was_written(&self) -> io::Result<()> {
        if self.0.lock().unwrap().cut { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }
}
