//! The device flow (RFC 8628): we ask until the person has agreed, refused, or taken too long.
//!
//! It lives in memory: a restart ends it, and the person begins again. How it ended can be asked for ten minutes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::super::LOG;
use super::super::provider::{Answer, DeviceCode, Grant, Provider, Registration};
use super::super::vault::NewToken;
use super::exchange::{self, Asked};
use super::{DeviceState, Inner, LIFETIME};
use crate::clock::Moment;

/// Whatever the provider says.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// What `slow_down` adds (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Longer nobody looks at a code.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 60);

/// How the device logins stand.
#[derive(Debug, Default)]
pub struct Devices(Mutex<HashMap<String, Device>>);

#[derive(Debug)]
struct Device {
    state: DeviceState,
    /// When it was touched last.
    at: Moment,
}

impl Devices {
    /// One has begun.
    pub fn begin(&self, id: &str, now: Moment) {
        let mut devices = self.0.lock();
        let is_of_interest =
            |device: &Device| matches!(device.state, DeviceState::Pending) || now.since(device.at) < LIFETIME;
        devices.retain(|_, device| is_of_interest(device));
        devices.insert(id.to_owned(), Device { state: DeviceState::Pending, at: now });
    }

    /// How one stands.
    pub fn state(&self, id: &str) -> Option<DeviceState> {
        self.0.lock().get(id).map(|device| device.state.clone())
    }

    fn end(&self, id: &str, state: DeviceState, now: Moment) {
        self.0.lock().insert(id.to_owned(), Device { state, at: now });
    }
}

/// How long a code is good.
pub fn life(code: &DeviceCode) -> Duration {
    code.expires_in.min(LONGEST_LIFE)
}

/// Asks until there is an end, and says which.
pub async fn poll(
    inner: Arc<Inner>,
    id: String,
    provider: Arc<Provider>,
    registration: Option<Registration>,
    code: DeviceCode,
) {
    let state = match agreed(&inner, &provider, registration, &code).await {
        Ok(state) => state,
        Err(why) => {
            log::warn!(target: LOG, "a device login at {} failed: {why}", provider.name);
            DeviceState::Failed(why)
        }
    };
    inner.devices.end(&id, state, (inner.clock)());
    inner.places.free(&id);
}

async fn agreed(
    inner: &Inner,
    provider: &Provider,
    registration: Option<Registration>,
    code: &DeviceCode,
) -> Result<DeviceState, String> {
    let deadline = Instant::now() + life(code);
    let grant = Grant::Device { device_code: code.device_code.clone() };
    let mut interval = code.interval.clamp(SHORTEST, LONGEST);
    loop {
        sleep(interval).await;
        if Instant::now() >= deadline {
            return Err("nobody has agreed in time: begin again".to_owned());
        }
        if inner.vault.provider(&provider.name).is_none() {
            return Err(format!("there is no provider {} any more", provider.name));
        }
        match exchange::token(provider, &grant, registration.as_ref()).await {
            Asked::Answered(Answer::Granted(granted)) => {
                let new = NewToken { provider: Arc::clone(&provider.name), granted, registration };
                let token = inner.adopt(new).await.map_err(|why| format!("Failed to save token: {why}"))?;
                return Ok(DeviceState::Done(Box::new(token)));
            }
            refused @ Asked::Answered(Answer::Refused(_)) => {
                return Err(refused.into_granted().err().unwrap_or_default());
            }
            Asked::Answered(Answer::Pending { slow_down: false }) => {}
            Asked::Answered(Answer::Pending { slow_down: true }) => interval = (interval + SLOWER).min(LONGEST),
            Asked::Answered(Answer::Busy { retry_after }) => {
                interval = retry_after.unwrap_or(interval + SLOWER).clamp(interval, LONGEST);
            }
            // It asks for less of us (§3.5).
            Asked::Answered(Answer::Unknown(why)) | Asked::Failed(why) => {
                log::debug!(target: LOG, "a device login at {} goes on: {why}", provider.name);
                interval = (interval * 2).min(LONGEST);
            }
        }
    }
}
