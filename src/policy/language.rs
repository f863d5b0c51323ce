//! Which of the two languages of the pages a browser would rather read (RFC 9110 §12.5.4).

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

/// Whether Chinese comes before English among what the browser would rather read (RFC 9110 §12.5.4).
pub fn prefers_chinese(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|value| value.to_str().ok());
    let (mut english, mut chinese) = (0.0, 0.0);
    for range in values.flat_map(|value| value.split(',')) {
        let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
        let weight: f32 = weight.trim().strip_prefix("q=").map_or(Some(1.0), |it| it.parse().ok()).unwrap_or(0.0);
        let language = tag.trim().split('-').next().unwrap_or_default();
        if language.eq_ignore_ascii_case("zh") {
            chinese = weight.max(chinese);
        } else if language.eq_ignore_ascii_case("en") {
            english = weight.max(english);
        }
    }
    chinese > english
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_weight_decides_and_english_wins_a_draw() {
        let prefers =
            |value| prefers_chinese(&[(ACCEPT_LANGUAGE, HeaderValue::from_static(value))].into_iter().collect());
        for chinese in ["zh", "zh-CN,zh;q=0.9,en;q=0.8", "de, zh-TW;q=0.5", "ZH"] {
            assert!(prefers(chinese), "{chinese}");
        }
        for english in ["", "en", "en-US,en;q=0.9,zh-CN;q=0.8", "de;q=x, *", "zh, en", "zh;q=0"] {
            assert!(!prefers(english), "{english}");
        }
        assert!(!prefers_chinese(&HeaderMap::new()));
    }
}
