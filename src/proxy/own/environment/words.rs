//! What the page says, in both languages.

use http::HeaderMap;

use crate::clock::UnixMillis;
use crate::policy::language::prefers_chinese;

/// One language.
#[derive(Debug)]
pub struct Words {
    pub lang: &'static str,
    pub title: &'static str,
    pub put: &'static str,
    pub until: &'static str,
    pub only_here: &'static str,
    pub by_default: &'static str,
    pub by_rule: &'static str,
    pub nothing: &'static str,
    pub why: &'static str,
    pub refused: &'static str,
    pub leave: &'static str,
    pub stop: &'static str,
    hours: &'static str,
    minutes: &'static str,
    over: &'static str,
}

static EN: Words = Words {
    lang: "en",
    title: "Environment of this browser",
    put: "This browser was put on this environment",
    until: "until",
    only_here: "It is so for this host and this browser alone. Everybody else gets",
    by_default: "This is the environment that serves by default. This browser was not put on any other.",
    by_rule: "This environment was chosen by a rule of the project:",
    nothing: "No environment serves this browser",
    why: "Its",
    refused: "Until that changes, every request of it to this host is answered with 404.",
    leave: "Leave this environment",
    stop: ".",
    hours: "{h} h {m} min left",
    minutes: "{m} min left",
    over: "over",
};

static ZH: Words = Words {
    lang: "zh-CN",
    title: "本浏览器的环境",
    put: "本浏览器已被切换到此环境，",
    until: "有效期至",
    only_here: "仅对此主机和本浏览器生效，其他人使用的是",
    by_default: "这是默认生效的环境，本浏览器没有被切换到其他环境。",
    by_rule: "此环境由项目的规则选定：",
    nothing: "没有环境为本浏览器提供服务",
    why: "原因：",
    refused: "在此之前，本浏览器对该主机的所有请求都会得到 404。",
    leave: "离开此环境",
    stop: "。",
    hours: "剩余 {h} 小时 {m} 分钟",
    minutes: "剩余 {m} 分钟",
    over: "已结束",
};

impl Words {
    /// What the browser would rather read.
    pub fn of(headers: &HeaderMap) -> &'static Self {
        if prefers_chinese(headers) { &ZH } else { &EN }
    }

    /// How long it is still.
    pub fn span(&self, millis: UnixMillis) -> String {
        let minutes = millis.div_ceil(60_000);
        let pattern = match minutes {
            0 => return self.over.to_owned(),
            1..60 => self.minutes,
            _ => self.hours,
        };
        pattern.replace("{h}", &(minutes / 60).to_string()).replace("{m}", &(minutes % 60).to_string())
    }
}
