//! What Pingora's errors mean: which status and code the client gets, and how the request is said to have ended.

use pingora_core::{Error, ErrorSource, ErrorType};

use super::clocks::{Fault, Silence};
use crate::observe::event::End;

/// One failed request, told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the client, if it can still be told; 0: it has left.
    pub status: u16,
    /// The error code.
    pub code: &'static str,
    /// For the client; says nothing about the inside.
    pub message: &'static str,
    /// For the access log.
    pub end: End,
}

impl Failure {
    const fn new(status: u16, code: &'static str, message: &'static str, end: End) -> Self {
        Self { status, code, message, end }
    }
}

/// The drain's deadline came first.
pub const DRAINED: Failure = Failure::new(503, "draining", "the proxy is stopping", End::Drained);
/// The client can't be told anything any more.
const CLIENT_LEFT: Failure = Failure::new(0, "client_left", "", End::ClientAbort);
/// Nothing went wrong: the upstream had all that it wanted.
const ANSWERED: Failure = Failure::new(0, "", "", End::Ok);
const CLIENT_STALLED: Failure = Failure::new(0, "client_stalled", "", End::Timeout);
const BODY_LATE: Failure =
    Failure::new(408, "client_timeout", "the request's body did not arrive in time", End::Timeout);
const BAD_BODY: Failure = Failure::new(400, "malformed_body", "the request's body is malformed", End::Refused);
const BAD_HEAD: Failure = Failure::new(400, "malformed_request", "the request head is malformed", End::Refused);
/// It grew beyond what its route takes.
pub const BODY_TOO_LARGE: Failure =
    Failure::new(413, "body_too_large", "the request's body is larger than this route takes", End::Refused);
/// A phase failed, or panicked.
pub const INTERNAL: Failure = Failure::new(500, "internal_error", "the proxy failed", End::Refused);
const FIRST_BYTE: Failure = Failure::new(504, "upstream_timeout", "the upstream did not answer in time", End::Timeout);
const IDLE: Failure = Failure::new(504, "upstream_stalled", "the upstream stopped in the middle", End::Timeout);
const CONNECT_TIMEOUT: Failure =
    Failure::new(504, "upstream_connect_timeout", "the upstream could not be reached in time", End::UpstreamAbort);
const CONNECT_FAILED: Failure =
    Failure::new(502, "upstream_connect_failed", "the upstream could not be reached", End::UpstreamAbort);
const TLS_FAILED: Failure =
    Failure::new(502, "upstream_tls_failed", "the upstream's TLS could not be verified", End::UpstreamAbort);
const CLOSED: Failure = Failure::new(
    502,
    "upstream_closed",
    "the upstream closed the connection without a whole answer",
    End::UpstreamAbort,
);
const INVALID: Failure =
    Failure::new(502, "upstream_invalid_response", "the upstream's answer is not valid HTTP", End::UpstreamAbort);
const SEND_TIMEOUT: Failure =
    Failure::new(504, "upstream_send_timeout", "the upstream did not take the request in time", End::Timeout);

/// Tells a failure apart by what Pingora says and by what the connection knows better.
pub fn of(error: &Error, fault: Option<Fault>) -> Failure {
    if let Some(fault) = fault {
        return of_fault(fault);
    }
    match error.esource() {
        ErrorSource::Upstream if is_no_http2(error) => INVALID,
        ErrorSource::Upstream => of_upstream(error.etype()),
        ErrorSource::Downstream => of_downstream(error.etype()),
        ErrorSource::Internal | ErrorSource::Unset => of_internal(error.etype()),
    }
}

/// Whether there is no upstream, or it ended without a word: nothing of what it says can have been misread.
pub fn is_out_of_reach(code: &str) -> bool {
    matches!(
        code,
        "upstream_connect_timeout"
            | "upstream_connect_failed"
            | "upstream_tls_failed"
            | "upstream_closed"
            | "upstream_unhealthy"
            | "upstream_unresolved"
    )
}

/// What the connection itself found out.
pub fn of_fault(fault: Fault) -> Failure {
    match fault {
        Fault::BodyLate => BODY_LATE,
        Fault::ClientStalled => CLIENT_STALLED,
        Fault::UpstreamSilent(Silence::FirstByte) => FIRST_BYTE,
        Fault::UpstreamSilent(Silence::Idle) => IDLE,
        Fault::UpstreamSilent(Silence::Sending) => SEND_TIMEOUT,
        Fault::MalformedBody => BAD_BODY,
        Fault::Broken => CLIENT_LEFT,
        Fault::Answered => ANSWERED,
    }
}

/// Whether the upstream broke the rules of HTTP/2: found out by our side, and not by its socket.
fn is_no_http2(error: &Error) -> bool {
    error.root_cause().downcast_ref::<h2::Error>().is_some_and(|error| error.is_library() && !error.is_io())
}

fn of_upstream(error: &ErrorType) -> Failure {
    match error {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => CONNECT_TIMEOUT,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::ConnectProxyFailure
        | ErrorType::SocketError
        | ErrorType::BindError => CONNECT_FAILED,
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => TLS_FAILED,
        ErrorType::ReadTimedout => FIRST_BYTE,
        ErrorType::WriteTimedout => SEND_TIMEOUT,
        ErrorType::InvalidHTTPHeader | ErrorType::H1Error | ErrorType::Custom(_) => INVALID,
        _ => CLOSED,
    }
}

fn of_downstream(error: &ErrorType) -> Failure {
    match error {
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => CLIENT_LEFT,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => CLIENT_STALLED,
        ErrorType::InvalidHTTPHeader => BAD_HEAD,
        _ => BAD_BODY,
    }
}

/// Pingora files a failed connect under “internal” when the socket itself could not be made.
fn of_internal(error: &ErrorType) -> Failure {
    match error {
        ErrorType::ConnectTimedout => CONNECT_TIMEOUT,
        ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => CONNECT_FAILED,
        _ => INTERNAL,
    }
}

/// Kind and system error alone: Pingora's own text may quote heads.
pub fn describe(error: &Error) -> String {
    let mut source = error.cause.as_deref();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return format!("{}: {io}", error.etype().as_str());
        }
        let Some(inner) = cause.downcast_ref::<Box<Error>>().map(|inner| &**inner).or_else(|| cause.downcast_ref())
        else {
            break;
        };
        let inner: &Error = inner;
        source = inner.cause.as_deref();
    }
    error.etype().as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use pingora_core::{Error, ErrorType};

    use super::{Fault, Silence, of};

    fn upstream(kind: ErrorType) -> Box<Error> {
        let mut error = Error::new(kind);
        error.as_up();
        error
    }

    #[test]
    fn the_three_gateway_answers_are_told_apart() {
        assert_eq!(of(&upstream(ErrorType::ConnectRefused), None).status, 502);
        assert_eq!(of(&upstream(ErrorType::ConnectTimedout), None).status, 504);
        assert_eq!(of(&upstream(ErrorType::ConnectionClosed), None).code, "upstream_closed");
        let silent = Some(Fault::UpstreamSilent(Silence::FirstByte));
        let mut read = Error::new(ErrorType::ReadError);
        read.as_down();
        assert_eq!((of(&read, silent).status, of(&read, silent).code), (504, "upstream_timeout"));
    }

    #[test]
    fn a_client_that_left_is_told_nothing() {
        let mut gone = Error::new(ErrorType::ConnectionClosed);
        gone.as_down();
        assert_eq!(of(&gone, None).status, 0);
    }
}
