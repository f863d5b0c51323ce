//! Whether a question is about a plain listener that sends everything to https: that comes before any decision.

use crate::config::model::Listener;
use crate::policy::request_gate::{self, Gate, RequestView};
use crate::policy::{host, to_https};

use super::super::Table;
use super::{Explanation, Question, Verdict};

impl Explanation {
    /// The listener's own answer; `None`: the decision has the word, also where the URL does not tell the listener.
    pub(super) fn to_https(&self, table: &Table, question: &Question, request: &RequestView<'_>) -> Option<Self> {
        let is_http = question.url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let Gate::Pass(canonical) = request_gate::judge(request) else { return None };
        let listeners = &table.started_with.listeners;
        let name = asked(listeners, request).filter(|_| is_http)?;
        let (project, _) = table.matcher.project(&canonical.host)?;
        if to_https::is_done(request, &table.trusted_proxies) {
            return None;
        }
        let port = listeners.iter().find(|listener| listener.tls.is_some()).map_or(0, |it| it.address.port());
        let detail = format!("listener {name} sends everything to https, but answers to ACME's challenges");
        let verdict = Verdict { policy: "listener", verdict: "answer", detail };
        Some(Self {
            status: Some(308),
            project: Some(project.name.to_string()),
            location: Some(to_https::location(&canonical, if port == 0 { to_https::HTTPS } else { port })),
            verdicts: vec![verdict],
            ..self.clone()
        })
    }
}

/// The name of the listener that is asked, if it sends requests to https: the one with the URL's port, else any plain one.
fn asked<'t>(listeners: &'t [Listener], request: &RequestView<'_>) -> Option<&'t str> {
    let host = request.headers.get(http::header::HOST)?.to_str().ok()?;
    let port = host::split(host).ok()?.1.unwrap_or(80);
    let plain = || listeners.iter().filter(|listener| listener.tls.is_none());
    let by_port = plain().find(|listener| listener.address.port() == port);
    let all = plain().all(|listener| listener.redirect_to_https);
    let listener = by_port.or_else(|| plain().next().filter(|_| all))?;
    listener.redirect_to_https.then_some(listener.name.as_str())
}
