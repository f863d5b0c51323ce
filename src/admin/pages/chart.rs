//! Lines over ten minutes, as SVG paths: drawn here alone, for the page as it is first served and for each update of it.
//!
//! The paths are drawn on 600 by 120; numbers stand outside of the drawing, as text that scales with the page.

use super::moment::amount;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// One chart.
#[derive(Debug)]
pub struct Chart {
    /// Its name in the page.
    pub id: &'static str,
    /// What is drawn.
    pub title: &'static str,
    /// The value that matters most, as of now.
    pub headline: String,
    /// The numbers at the side, from the top down.
    pub ticks: [String; 3],
    /// For those who do not see it.
    pub described: String,
    /// What is drawn, the most important first.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Debug)]
pub struct Line {
    /// What it shows.
    pub name: &'static str,
    /// How it looks.
    pub class: &'static str,
    /// As of now.
    pub now: String,
    /// The line.
    pub path: String,
    /// What is below it; empty: nothing is drawn there.
    pub area: String,
}

/// What is to be drawn: a value for each of the moments, oldest first; `None`: there was none.
pub type Series = Vec<Option<f64>>;

/// The end of the scale: one, two or five times a power of ten, above everything that is drawn.
pub fn top(series: &[&Series], least: f64) -> f64 {
    let most = series.iter().flat_map(|it| it.iter().flatten()).fold(least, |most, value| value.max(most));
    let power = 10f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= most * 0.999).unwrap_or(most)
}

/// The highest of all.
pub fn most(series: &[&Series]) -> f64 {
    series.iter().flat_map(|it| it.iter().flatten()).fold(0.0, |most: f64, value| value.max(most))
}

/// Three numbers for a scale that ends there.
pub fn ticks(top: f64, shown: impl Fn(f64) -> String) -> [String; 3] {
    [shown(top), shown(top / 2.0), amount(0.0)]
}

/// The path of a series; a gap where there is no value.
pub fn path(series: &Series, top: f64) -> String {
    let mut path = String::with_capacity(series.len() * 10);
    let mut pen_is_down = false;
    for (index, value) in series.iter().enumerate() {
        let Some(value) = value else {
            pen_is_down = false;
            continue;
        };
        let command = if pen_is_down { 'L' } else { 'M' };
        path.push_str(&format!("{command}{} {}", short(x(index, series.len())), short(y(*value, top))));
        if !pen_is_down && series.get(index + 1).is_none_or(Option::is_none) {
            // A single point is a dot: a round cap around no length.
            path.push_str("h.01");
        }
        pen_is_down = true;
    }
    path
}

/// The same, closed along the bottom: for a series without gaps.
pub fn area(series: &Series, top: f64) -> String {
    let first = series.iter().position(Option::is_some);
    let Some(first) = first.filter(|first| first + 1 < series.len()) else { return String::new() };
    let line = path(series, top);
    format!("{line}L{} {HEIGHT}L{} {HEIGHT}Z", short(WIDTH), short(x(first, series.len())))
}

#[allow(clippy::cast_precision_loss, reason = "some hundred points")]
fn x(index: usize, count: usize) -> f64 {
    WIDTH * index as f64 / (count.max(2) - 1) as f64
}

/// Half a line's width from either end, so that nothing is cut off.
fn y(value: f64, top: f64) -> f64 {
    let part = if top > 0.0 { (value / top).clamp(0.0, 1.0) } else { 0.0 };
    1.0 + (HEIGHT - 2.0) * (1.0 - part)
}

/// One decimal, if it says anything.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_ends_at_a_round_number_above_everything() {
        let ends = [0.0, 0.7, 1.0, 1.1, 4.9, 5.1, 99.0, 101.0, 1_234_567.0].map(|most| top(&[&vec![Some(most)]], 1.0));
        assert_eq!(ends, [1.0, 1.0, 1.0, 2.0, 5.0, 10.0, 100.0, 200.0, 2_000_000.0]);
        assert_eq!(top(&[&vec![None]], 10.0), 10.0);
        assert_eq!(ticks(50.0, amount), ["50", "25", "0"]);
    }

    #[test]
    fn a_line_has_gaps_where_nothing_was() {
        let series = vec![None, Some(0.0), Some(10.0), None, Some(5.0)];
        assert_eq!(path(&series, 10.0), "M150 119L300 1M600 60h.01");
        assert_eq!(path(&vec![None; 3], 10.0), "");
        assert_eq!(area(&vec![None, Some(0.0), Some(10.0)], 10.0), "M300 119L600 1L600 120L300 120Z");
        assert_eq!(area(&vec![None, None, Some(10.0)], 10.0), "");
    }
}
