//! An explanation as people read it: the answer first, then how it came about.

use std::fmt::{self, Display, Formatter};

use super::{Candidate, Changes, Explanation, Fields, Signature, Verdict};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.asked)?;
        writeln!(f, "  {}", self.headline())?;
        writeln!(f)?;
        self.choice(f)?;
        losers(f, &self.candidates, self.candidates_omitted)?;
        verdicts(f, &self.verdicts)?;
        self.destination(f)?;
        changes(f, "request", &self.headers)?;
        changes(f, "response", &self.response_headers)?;
        self.sign.as_ref().map_or(Ok(()), |sign| signature(f, sign))?;
        line(f, "generation", &self.generation)
    }
}

impl Explanation {
    fn headline(&self) -> String {
        match (self.status, self.code, &self.upstream_url, &self.location) {
            (Some(status), Some(code), ..) => {
                format!("refused: {status} {code} ({})", self.message.as_deref().unwrap_or_default())
            }
            (_, _, Some(url), _) => format!("routed to {url}"),
            (Some(status), _, _, Some(location)) => format!("answered by the edge: {status} to {location}"),
            (Some(status), ..) => format!("answered by the edge: {status}"),
            (None, ..) => self.outcome.to_owned(),
        }
    }

    fn choice(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(project) = &self.project {
            line(f, "project", project)?;
        }
        if let (Some(environment), Some(rule)) = (&self.environment, &self.environment_rule) {
            line(f, "environment", &format_args!("{environment} ({rule})"))?;
        }
        match &self.route {
            Some(route) => line(f, "route", &format_args!("{} at {}:{}", route.prefix, route.file, route.line)),
            None => Ok(()),
        }
    }

    fn destination(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(upstream) = &self.upstream {
            match self.endpoints.len() {
                0 | 1 => line(f, "upstream", upstream)?,
                _ => line(f, "upstream", &format_args!("{upstream}: one of {}", self.endpoints.join(", ")))?,
            }
        }
        self.host.as_ref().map_or(Ok(()), |host| line(f, "host", host))
    }
}

/// Where the second column begins.
const COLUMN: usize = 14;

fn line(f: &mut Formatter<'_>, label: &str, value: &dyn Display) -> fmt::Result {
    writeln!(f, "  {label:<COLUMN$}{value}")
}

fn losers(f: &mut Formatter<'_>, candidates: &[Candidate], omitted: usize) -> fmt::Result {
    let widest = candidates.iter().map(|candidate| candidate.prefix.chars().count()).max().unwrap_or(0).min(40);
    for (index, one) in candidates.iter().enumerate() {
        let label = if index == 0 { "lost" } else { "" };
        let Candidate { prefix, lost, environment, file, line: at } = one;
        line(f, label, &format_args!("{prefix:<widest$}  {lost} ({environment}, {file}:{at})"))?;
    }
    if omitted > 0 {
        line(f, "", &format_args!("and {omitted} more that the path is not below"))?;
    }
    Ok(())
}

fn verdicts(f: &mut Formatter<'_>, verdicts: &[Verdict]) -> fmt::Result {
    for (index, Verdict { policy, verdict, detail }) in verdicts.iter().enumerate() {
        let label = if index == 0 { "verdicts" } else { "" };
        line(f, label, &format_args!("{policy:<12}{verdict:<8}{detail}"))?;
    }
    Ok(())
}

fn changes(f: &mut Formatter<'_>, direction: &str, changes: &Changes) -> fmt::Result {
    let Changes { set, added, removed } = changes;
    if set.0.is_empty() && added.0.is_empty() && removed.is_empty() {
        return Ok(());
    }
    writeln!(f, "  {direction} headers")?;
    removed.iter().try_for_each(|name| writeln!(f, "    - {name}"))?;
    fields(f, '=', set)?;
    fields(f, '+', added)
}

fn fields(f: &mut Formatter<'_>, sign: char, fields: &Fields) -> fmt::Result {
    fields.0.iter().try_for_each(|(name, value)| writeln!(f, "    {sign} {name}: {value}"))
}

fn signature(f: &mut Formatter<'_>, sign: &Signature) -> fmt::Result {
    match &sign.base {
        Some(base) => line(f, "signature", &format_args!("{} over {base}", sign.scheme)),
        None => line(f, "signature", &"none: identity headers only"),
    }
}
