//! What is asked of a provider while somebody logs in, and what people are told when it does not answer as it should: never a
//! word of what we sent.

use bytes::Bytes;
use http::Response;

use super::super::provider::{
    Answer, Call, DeviceCode, Grant, Granted, LIMITS, Provider, Registration, masked, printable,
};
use crate::clock;
use crate::outbound::Client;
use crate::secret::Secret;

/// Registers a client, where the provider wants one.
pub async fn register(provider: &Provider, redirect_uri: &str) -> Result<Option<Registration>, String> {
    let Some(call) = provider.register(redirect_uri) else { return Ok(None) };
    let answer = send(provider, call).await?;
    provider.registered(answer.status(), answer.body()).map(Some).map_err(|why| shown(&why, &[]))
}

/// Begins a device flow.
pub async fn device_code(provider: &Provider, registration: Option<&Registration>) -> Result<DeviceCode, String> {
    let none = || format!("the provider {} has no device flow", provider.name);
    let call = provider.device_authorization(registration).ok_or_else(none)?;
    let answer = send(provider, call).await?;
    let code = provider.device_code(answer.status(), answer.body());
    code.map_err(|why| shown(&why, &secrets(registration)))
}

/// What a token was asked for with, and came to.
#[derive(Debug)]
pub enum Asked {
    /// The provider has answered.
    Answered(Answer),
    /// It has not, or nobody could ask.
    Failed(String),
}

impl Asked {
    /// The token, or why there is none.
    pub fn into_granted(self) -> Result<Granted, String> {
        match self {
            Self::Answered(Answer::Granted(granted)) => Ok(granted),
            Self::Answered(Answer::Refused(refused)) => Err(match refused.description {
                Some(description) => shown(&format!("{}: {description}", refused.code), &[]),
                None => shown(&refused.code, &[]),
            }),
            Self::Answered(Answer::Busy { .. } | Answer::Pending { .. }) => {
                Err("the provider has too much to do; begin again in a while".to_owned())
            }
            Self::Answered(Answer::Unknown(why)) | Self::Failed(why) => Err(why),
        }
    }
}

/// Asks for a token.
pub async fn token(provider: &Provider, grant: &Grant, registration: Option<&Registration>) -> Asked {
    let Some(call) = provider.token(grant, registration) else {
        return Asked::Failed(format!("the provider {} cannot be asked so", provider.name));
    };
    match send(provider, call).await {
        Err(why) => Asked::Failed(why),
        Ok(answer) => {
            let meant = provider.answer(answer.status(), answer.headers(), answer.body(), clock::unix_millis());
            let mut sent = grant.secrets();
            sent.extend(secrets(registration));
            match meant.without(&sent) {
                Answer::Unknown(why) => Asked::Answered(Answer::Unknown(shown(&why, &sent))),
                meant => Asked::Answered(meant),
            }
        }
    }
}

fn secrets(registration: Option<&Registration>) -> Vec<&Secret> {
    registration.map(|registration| &registration.client_secret).into_iter().collect()
}

fn shown(why: &str, secrets: &[&Secret]) -> String {
    printable(&masked(why, secrets)).unwrap_or_else(|| "the provider gave no reason".to_owned())
}

async fn send(provider: &Provider, call: Call) -> Result<Response<Bytes>, String> {
    let request = call.request().map_err(|error| error.to_string())?;
    let anchors = provider.anchors.clone();
    // The system's CAs are read from files.
    let client = tokio::task::spawn_blocking(move || Client::new(&anchors)).await.map_err(|error| error.to_string())?;
    let client = client.map_err(|error| error.to_string())?;
    client.exchange(request, LIMITS).await.map_err(|failure| failure.to_string())
}
