//! What the page `local` says, in both languages side by side: what lacks a translation does not compile. `{}` stands for a value
//! that the page's script puts in.

macro_rules! words {
    ($($name:ident: $english:literal, $chinese:literal;)*) => {
        /// One language.
        #[derive(Debug, PartialEq, Eq)]
        pub(super) struct Words {
            $(pub(super) $name: &'static str,)*
        }

        /// English.
        pub(super) static EN: Words = Words { $($name: $english,)* };

        /// Chinese as it is written on the mainland.
        pub(super) static ZH: Words = Words { $($name: $chinese,)* };

        #[cfg(test)]
        const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $chinese),)*];
    };
}

words! {
    lang: "en", "zh-CN";
    title: "Local debugging", "本地调试";
    skip: "Skip to content", "跳到正文";
    lead: "Send the calls of one prefix from this browser to your own server. Nobody else notices.",
        "把某个前缀的请求从本浏览器直接发到您自己的服务器。其他人不受影响。";
    project: "Project", "项目";
    environment: "Environment", "环境";
    is_off: "Local debugging is off", "本地调试已关闭";
    is_on: "Local debugging is ON in this browser", "本浏览器的本地调试已开启";
    off_means: "This browser uses the same routes as everybody else.", "本浏览器与其他人使用相同的路由。";
    on_means: "Calls below these prefixes go to your server, not to the real upstream, on every page of this site in this browser.",
        "在本浏览器中，本站所有页面对以下前缀的请求都会发到您的服务器，而不是真正的上游。";
    on_nothing: "It is on, but there is no prefix yet: nothing goes elsewhere.", "已开启，但还没有任何前缀：没有请求被转走。";
    switch_on: "Switch on", "开启";
    switch_off: "Switch off", "关闭";
    title_on: "ON", "已开启";
    yours: "Your prefixes", "您的前缀";
    none_yet: "None yet.", "暂无。";
    prefix: "Prefix", "前缀";
    target: "Your server", "您的服务器";
    prefix_help: "Whole segments: /a0 means /a0 and everything below /a0/.", "按整段匹配：/a0 表示 /a0 以及 /a0/ 之下的所有路径。";
    target_help: "The URL that takes the prefix's place, such as http://localhost:3000/api", "用来替换前缀的 URL，例如 http://localhost:3000/api";
    save: "Save", "保存";
    saved: "Saved: {}", "已保存：{}";
    edit: "Edit", "编辑";
    edit_of: "Edit {}", "编辑 {}";
    remove: "Remove", "删除";
    remove_of: "Remove {}", "删除 {}";
    removed: "Removed: {}", "已删除：{}";
    test: "Test", "测试";
    test_of: "Test {}", "测试 {}";
    testing: "Asking {} …", "正在请求 {} …";
    test_good: "It answers ({}), and this page may read the answer.", "有响应（{}），且本页面可以读取。";
    test_cors: "It answers, but its CORS set-up does not let this page read the answer. It has to send the fields below.",
        "有响应，但它的 CORS 设置不允许本页面读取。它必须返回下面列出的响应头。";
    test_down: "No answer: it is not running there, or the browser did not allow the connection.", "没有响应：服务器没有在那里运行，或者浏览器不允许连接。";
    bad_prefix: "This is no prefix. It begins with a slash, such as /a0, and has no query.", "这不是前缀。前缀以斜杠开头，例如 /a0，不带查询参数。";
    bad_target: "This is no URL such as http://localhost:3000/api (without user name, query or fragment).",
        "这不是形如 http://localhost:3000/api 的 URL（不带用户名、查询参数和片段）。";
    no_storage: "This browser keeps nothing for this site (localStorage is closed), so nothing can be switched here.",
        "本浏览器不为本站保存任何数据（localStorage 不可用），因此无法在此切换。";
    theirs: "What holds for everybody", "对所有人生效的路由";
    mode: "Mode", "模式";
    mode_api: "API: through the edge, signed as its route says", "API：经由边缘代理，按路由签名";
    mode_direct: "Direct: the browser goes there itself, never signed", "Direct：浏览器直接访问，从不签名";
    debug_here: "Use", "使用";
    debug_of: "Use {} locally", "在本地调试 {}";
    overridden: "but local in this browser", "但本浏览器走本地";
    routes_failed: "The routes could not be read: {}", "无法读取路由：{}";
    server_needs: "What your server has to answer", "您的服务器必须返回什么";
    server_why: "The browser calls it from another origin, so it has to allow that (CORS), also for the request OPTIONS that comes first:",
        "浏览器从另一个源调用它，因此它必须允许跨源访问（CORS），对先到达的 OPTIONS 请求也是如此：";
    signature_is: "fetch and upload carry the demonstration signature, which is the same for everybody and which no real upstream accepts; jsonp, script and download carry none.",
        "fetch 和 upload 带有演示签名；它对所有人都相同，任何真正的上游都不会接受。jsonp、script 和 download 不带签名。";
    needs_script: "This page needs JavaScript.", "此页面需要 JavaScript。";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_say_something_and_take_the_same_values() {
        for (name, english, chinese) in ALL {
            assert!(!english.is_empty() && !chinese.is_empty(), "{name}");
            assert_eq!(english.matches("{}").count(), chinese.matches("{}").count(), "{name}");
        }
    }
}
