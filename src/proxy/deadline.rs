//! One lazily armed timer per connection.
//!
//! A request on a keep-alive connection passes several deadlines (head, idle, stalls) without ever touching the timer
//! wheel: the timer stays armed for an earlier moment and is moved only when it fires, or when a deadline comes nearer.

use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep};

/// Whether `deadline` has passed; when it has not, the task is woken no later than then.
pub fn poll_expired(mut sleep: Pin<&mut Sleep>, deadline: Instant, cx: &mut Context<'_>) -> bool {
    loop {
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        if Instant::now() >= deadline {
            return true;
        }
        sleep.as_mut().reset(deadline);
    }
}

use std::future::Future;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::poll_expired;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_later_than_the_armed_timer_is_kept_exactly() {
        let start = Instant::now();
        let mut timer = pin!(sleep(Duration::from_secs(1)));
        let deadline = start + Duration::from_secs(5);
        poll_fn(|cx| if poll_expired(timer.as_mut(), deadline, cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_earlier_than_the_armed_timer_is_kept_exactly() {
        let start = Instant::now();
        let mut timer = pin!(sleep(Duration::from_secs(60)));
        let deadline = start + Duration::from_secs(2);
        poll_fn(|cx| if poll_expired(timer.as_mut(), deadline, cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}
