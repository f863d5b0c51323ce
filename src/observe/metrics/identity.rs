//! What is seen of log-ins and of the issuers that are asked. Projects and issuers are those of the configuration.

use prometheus::{IntCounterVec, Registry};

use super::families::counters;

#[derive(Debug)]
pub struct IdentityFamilies {
    log_ins: IntCounterVec,
    renewals: IntCounterVec,
    issuers: IntCounterVec,
}

impl IdentityFamilies {
    /// Makes and registers them.
    ///
    /// # Errors
    /// A name or label is malformed or taken: a mistake in this file, found by every test.
    pub fn register(r: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            log_ins: counters(
                r,
                "oidc_logins_total",
                "Log-ins that have ended: ok, or why not.",
                &["project", "outcome"],
            )?,
            renewals: counters(
                r,
                "oidc_renewals_total",
                "Requests whose session was shown to its issuer again: renewed, ended, or later.",
                &["project", "outcome"],
            )?,
            issuers: counters(
                r,
                "issuer_keys_asked_total",
                "Requests for which an issuer was asked for its keys.",
                &["issuer", "outcome"],
            )?,
        })
    }

    pub fn log_in(&self, project: &str, outcome: &'static str) {
        self.log_ins.with_label_values(&[project, outcome]).inc();
    }

    pub fn renewal(&self, project: &str, outcome: &'static str) {
        self.renewals.with_label_values(&[project, outcome]).inc();
    }

    pub fn asked(&self, issuer: &str, outcome: &'static str) {
        self.issuers.with_label_values(&[issuer, outcome]).inc();
    }
}
