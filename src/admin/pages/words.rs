//! Everything that the pages say, in both languages side by side: what lacks a translation does not compile.
//!
//! The labels Add Account, Login, Manual Callback and Submit, and the words for a token's status, are part of the public
//! interface in English (`the_words_of_the_interface_are_kept`). `{}` stands for a value; see [`fill`].

use axum::http::{HeaderMap, header};

use crate::policy::language::prefers_chinese;

macro_rules! words {
    ($($name:ident: $english:literal, $chinese:literal;)*) => {
        /// One language.
        #[derive(Debug, PartialEq, Eq)]
        pub struct Words {
            $(pub $name: &'static str,)*
        }

        /// English.
        pub static EN: Words = Words { $($name: $english,)* };

        /// Chinese as it is written on the mainland.
        pub static ZH: Words = Words { $($name: $chinese,)* };

        #[cfg(test)]
        const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $chinese),)*];
    };
}

words! {
    lang: "en", "zh-CN";
    code: "en", "zh";
    other_lang: "zh-CN", "en";
    other_code: "zh", "en";
    other_language: "中文", "English";

    // The frame
    skip: "Skip to content", "跳到正文";
    pages: "Pages", "页面";
    overview: "Overview", "概览";
    tokens: "Tokens", "令牌";
    routes: "Routes", "路由";
    configuration: "Configuration", "配置";
    log: "Log", "日志";
    sessions: "Sessions", "会话";
    signed_in_as: "Signed in as", "当前用户";
    sign_out: "Sign out", "退出登录";
    pause: "Pause updates", "暂停更新";
    resume: "Resume updates", "继续更新";
    live_stale: "Live updates have stopped: Countersign does not answer. Trying again.", "实时更新已中断：Countersign 没有响应，正在重试。";
    live_again: "Live updates are back.", "实时更新已恢复。";
    copy: "Copy", "复制";
    copied: "Copied", "已复制";
    landing: "The login is almost done", "登录即将完成";
    landing_next: "If nothing happens, press the button.", "如果没有自动继续，请点击按钮。";
    landing_failed: "The login did not end here.", "登录没有完成。";
    landing_failed_next: "Begin again with Add Account. If it was begun in another session or on the command line, go back, copy the address, and submit it there.", "请通过“添加账户”重新开始；如果登录是在其他会话或命令行中发起的，请返回上一页，复制地址并在那里提交。";
    go_on: "Continue", "继续";
    not_found: "There is no such page", "页面不存在";
    not_found_next: "The link may be old. Start from the overview.", "链接可能已失效，请从概览页重新开始。";
    fault: "Something went wrong in Countersign itself", "Countersign 内部出错";
    fault_next: "The process log says more. Trying again does no harm.", "详情请查看进程日志，可以放心重试。";

    // Signing in
    sign_in: "Sign in", "登录";
    sign_in_failed: "That did not work.", "登录失败。";
    signed_out: "You are signed out.", "您已退出登录。";
    wrong_token: "This is not the admin token.", "管理令牌不正确。";
    wrong_password: "User and password do not belong together.", "用户名或密码不正确。";
    too_many_attempts: "Too many wrong attempts from this address. Wait a minute.", "该地址尝试次数过多，请等待一分钟。";
    authentication_busy: "Too many passwords wait to be verified. Try again in a moment.", "待验证的密码过多，请稍后重试。";
    sign_in_again: "Please sign in again.", "请重新登录。";
    with_token: "With the admin token", "使用管理令牌";
    admin_token: "Admin token", "管理令牌";
    token_where: "It is the one line in this file, on the machine that runs Countersign:", "令牌是运行 Countersign 的机器上这个文件中的唯一一行：";
    token_on_terminal: "This run writes no files: the token was printed when it started.", "本次运行不写入任何文件：令牌已在启动时打印到终端。";
    with_password: "With a password", "使用密码";
    user: "User", "用户";
    password: "Password", "密码";

    // Overview
    state: "State", "状态";
    serving: "serving", "服务中";
    draining: "draining", "正在排空";
    starting: "starting", "启动中";
    generation: "Generation", "配置代次";
    routes_count: "Routes", "路由数";
    none_yet: "none yet", "暂无";
    connections: "Connections", "连接数";
    uptime: "Uptime", "运行时长";
    version: "Version", "版本";
    listeners: "Listeners", "监听器";
    traffic: "Traffic", "流量";
    last_ten_minutes: "the last ten minutes", "最近十分钟";
    minutes_short: "min", "分钟";
    now: "now", "现在";
    chart_requests: "Requests", "请求";
    chart_latency: "Latency to the first byte", "首字节延迟";
    chart_errors: "Errors", "错误";
    chart_load: "Under way", "进行中";
    per_second: "/s", "/秒";
    line_requests: "all", "全部";
    line_failed: "5xx or cut short", "5xx 或中断";
    line_refused: "4xx or client left", "4xx 或客户端断开";
    line_in_flight: "requests in flight", "处理中的请求";
    line_streams: "open streams", "打开的流";
    chart_described: "{}: now {}; at most {} in the last ten minutes", "{}：当前 {}；最近十分钟最高 {}";
    of_requests: "{} of requests", "占请求的 {}";
    last_reload: "Last reload", "最近一次重载";
    applied: "applied", "已应用";
    unchanged: "unchanged", "无变化";
    rejected: "rejected", "已拒绝";
    applied_means: "The new configuration is in force.", "新配置已生效。";
    unchanged_means: "The files say what is in force already.", "文件内容与当前生效的配置相同。";
    rejected_means: "The files do not hold; the configuration before them stays in force.", "配置文件有误；之前的配置继续生效。";
    by_start: "at start", "启动时";
    by_file: "a file changed", "文件变更";
    by_signal: "by signal", "收到信号";
    by_api: "asked for", "手动触发";
    took: "took {}", "耗时 {}";
    routes_changed: "routes: {} added, {} removed, {} changed", "路由：新增 {}，删除 {}，修改 {}";
    waits_for_restart: "These keys wait for a restart:", "以下配置项需重启后生效：";
    see_diagnostics: "Diagnostics with excerpts", "查看诊断与源码片段";
    upstreams: "Upstreams", "上游";
    upstream: "Upstream", "上游";
    endpoint: "Endpoint", "端点";
    in_flight: "In flight", "处理中";
    last_check: "Last check", "最近检查";
    last_error: "Last error", "最近错误";
    no_upstreams: "No route goes to an upstream.", "没有路由指向上游。";
    more_endpoints: "More endpoints than are shown:", "未显示的端点数：";
    up: "up", "正常";
    down: "down", "异常";
    unknown: "not used yet", "尚未使用";
    unhealthy: "unhealthy", "不健康";
    ejected: "ejected", "已摘除";
    certificates: "Certificates", "证书";
    no_certificates: "No listener has a certificate.", "没有监听器使用证书。";
    name: "Name", "名称";
    ends: "Ends", "到期";
    note: "Note", "备注";
    cert_good: "good", "正常";
    cert_soon: "ends soon", "即将到期";
    cert_over: "ended", "已过期";
    cert_broken: "new files broken", "新文件损坏";
    cert_missing: "not obtained yet", "尚未签发";
    cert_broken_note: "its files hold something that cannot be served; the old certificate stays", "its files hold something that cannot be served; the old certificate stays";

    // Tokens
    add_account: "Add Account", "添加账户";
    token: "Token", "令牌";
    status: "Status", "状态";
    valid: "valid", "有效";
    expiring: "expiring", "即将过期";
    expired: "expired", "已过期";
    resting: "resting", "冷却中";
    needs_login: "needs_login", "需要重新登录";
    expires: "Expires", "过期时间";
    last_refresh: "Last refresh", "最近刷新";
    last_used: "Last use", "最近使用";
    requests: "Requests", "请求数";
    created: "Created", "创建时间";
    actions: "Actions", "操作";
    fingerprint: "Fingerprint", "指纹";
    until: "until", "直到";
    not_durable: "not on disk yet", "尚未写入磁盘";
    never: "never", "从未";
    reason: "Reason", "原因";
    login_again: "Log in again", "重新登录";
    refresh: "Refresh", "刷新";
    test_now: "Test now", "立即测试";
    remove: "Remove", "删除";
    no_tokens: "No accounts yet", "还没有账户";
    no_tokens_next: "Log in to a provider once; Countersign keeps the token, refreshes it, and puts it on the requests of the routes that name it.", "登录一次提供方即可：Countersign 会保存令牌、自动刷新，并把它附加到引用它的路由的请求上。";
    no_tokens_import: "A token file from elsewhere is taken by", "已有的令牌文件可用此命令导入：";
    no_providers: "The configuration names no provider, so that there is nothing to log in to. Add one, for example:", "配置中没有提供方，因此无处登录。请添加一个，例如：";
    no_providers_next: "Save the file: the page offers Add Account as soon as the edit is applied.", "保存文件；修改生效后，本页会出现“添加账户”。";
    faults: "Files that cannot be used", "无法使用的文件";
    faults_next: "The other tokens keep working.", "其他令牌不受影响。";
    file: "File", "文件";
    problem: "Problem", "问题";
    what_to_do: "What to do", "处理办法";
    remove_token: "Remove a token", "删除令牌";
    remove_means: "Its file is deleted and requests stop using it at once. The provider is not told: to end the grant, revoke it there.", "令牌文件将被删除，请求立即停止使用它。不会通知提供方：如需撤销授权，请在提供方处操作。";
    keep: "Keep it", "保留";
    provider: "Provider", "提供方";
    removed: "The token has been removed.", "令牌已删除。";
    refreshed: "The token has been refreshed.", "令牌已刷新。";
    refresh_failed: "The refresh failed.", "刷新失败。";
    refresh_failed_next: "A token that still works stays in use. If the provider asks for a login, use Log in again.", "仍可用的令牌会继续使用。如果提供方要求登录，请点击“重新登录”。";
    remove_failed: "The token could not be removed.", "无法删除令牌。";
    unknown_token: "There is no such token.", "令牌不存在。";
    unknown_token_next: "Somebody else may have removed it.", "可能已被其他人删除。";
    test_passed: "The upstream takes the token.", "上游接受该令牌。";
    test_refused: "The upstream refuses the token.", "上游拒绝该令牌。";
    test_refused_next: "Refresh it; if that does not help, log in again.", "请先刷新；仍无效时请重新登录。";
    test_impossible: "The token could not be tested.", "无法测试该令牌。";
    test_none: "No route sends tokens of this provider to an upstream that can be asked.", "没有路由把该提供方的令牌发往可测试的上游。";
    test_resting: "It is not lent right now: it rests, has expired, or needs a login.", "当前不可用：冷却中、已过期或需要重新登录。";
    test_answered: "GET {} answered {}.", "GET {} 返回 {}。";

    // Logging an account in
    login: "Login", "登录";
    manual_callback: "Manual Callback", "手动回调";
    submit: "Submit", "提交";
    device_code: "Device code", "设备码";
    device_code_instead: "Use a device code instead", "改用设备码";
    device_too: "device code", "支持设备码";
    add_help: "Login shows the provider’s address; you sign in there, in this browser or another.", "点击“登录”后会显示提供方的地址，您可在本浏览器或其他浏览器中完成登录。";
    no_login_providers: "No provider in the configuration has a login.", "配置中没有需要登录的提供方。";
    three_ways: "Ways to finish a login", "完成登录的方式";
    way_redirect: " – when this browser can reach Countersign at the redirect address, the token is saved by itself.", "：如果本浏览器能访问重定向地址上的 Countersign，令牌会自动保存。";
    way_device: " – you type a short code at the provider, on any device.", "：在任意设备上向提供方输入一个短码。";
    way_manual: " – the browser ends on a page that cannot be reached; you paste its address here.", "：浏览器停在一个无法打开的页面，把它的地址粘贴到这里即可。";
    login_until: "This login can be finished", "本次登录须完成于";
    sign_in_there: "Sign in at the provider", "在提供方登录";
    open_authorization: "Open the authorization page", "打开授权页面";
    authorization_url: "Authorization URL", "授权地址";
    comes_back: "Afterwards this browser comes back by itself, to", "完成后浏览器会自动返回：";
    comes_not_back: "This browser cannot reach the redirect address from here. After the sign-in it ends on a page that does not load, at", "本浏览器无法访问重定向地址。登录后浏览器会停在一个打不开的页面：";
    manual_when: "if the browser does not come back.", "（浏览器没有自动返回时使用）";
    manual_1: "Sign in at the provider and agree.", "在提供方登录并同意授权。";
    manual_2: "The browser then shows that it cannot reach a page. That is expected. Its address begins like this:", "随后浏览器会提示无法访问页面，这是正常现象。其地址形如：";
    manual_3: "Copy the whole address from the address bar, paste it below, and submit it.", "复制地址栏中的完整地址，粘贴到下方并提交。";
    callback_url: "Callback URL", "回调地址";
    callback_help: "The whole address, or what stands behind the question mark. Spaces, quotes and line breaks around it do no harm. It is read, never opened.", "完整地址，或问号之后的部分均可。多余的空格、引号和换行会被忽略。地址只会被解析，不会被访问。";
    callback_page: "Paste the address at which the browser ended after the sign-in at the provider. The login may have been begun on this page, on another device, or on the command line.", "请粘贴在提供方登录后浏览器停留的地址。登录可以是在本页、其他设备或命令行中发起的。";
    invalid_state_next: "The login was finished already, is older than ten minutes, or the address belongs to another login or another redirect address. Begin again with Add Account.", "该登录已完成、已超过十分钟，或地址属于其他登录或其他重定向地址。请通过“添加账户”重新开始。";
    missing_next: "Copy the whole address from the address bar, with everything behind the question mark.", "请复制地址栏中的完整地址，包括问号之后的全部内容。";
    malformed_next: "Paste the address as the browser shows it.", "请按浏览器显示的原样粘贴地址。";
    refused_next: "The provider, or the person who signed in, said no. Begin again with Add Account and agree there.", "提供方或登录者拒绝了授权。请通过“添加账户”重新开始并同意授权。";
    exchange_next: "The code is spent, or the provider did not answer. Begin again with Add Account; if it fails again, look at the client and its secret in the configuration.", "授权码已失效，或提供方没有响应。请通过“添加账户”重新开始；若再次失败，请检查配置中的客户端及其密钥。";
    save_next: "The token is in use and is written as soon as that is possible. Look at the disk and at tokens_dir.", "令牌已在使用，一旦可能就会写入磁盘。请检查磁盘和 tokens_dir。";
    begin_failed: "The login could not begin.", "无法开始登录。";
    begin_next: "Look at the provider in the configuration, or try again in a moment.", "请检查配置中的提供方，或稍后重试。";
    saved_next: "Routes that name this provider use it from now on.", "引用该提供方的路由从现在起使用它。";
    login_over: "This login is over.", "本次登录已结束。";
    device_type_code: "Type this code at the provider", "在提供方输入此代码";
    device_where: "at", "地址：";
    device_open: "Open it with the code filled in", "打开（已填好代码）";
    device_wait: "Countersign asks until you are done", "Countersign 会一直查询，直到完成";
    device_pending: "waiting", "等待中";
    device_pending_next: "This page follows by itself.", "本页会自动更新。";
    device_done: "done", "完成";
    device_failed: "failed", "失败";
    device_gone: "over", "已结束";
    device_gone_next: "It was finished, or ten minutes have passed.", "登录已完成，或已超过十分钟。";
    start_again: "Start again", "重新开始";

    // Routes
    project_environment: "Project and environment", "项目与环境";
    all: "all", "全部";
    serves_by_default: "serves by default", "默认生效";
    filter: "Filter", "筛选";
    filter_routes: "prefix, upstream, credential, file", "前缀、上游、凭据、文件";
    show: "Show", "显示";
    no_routes: "There are no routes.", "没有路由。";
    no_routes_found: "No route matches the filter.", "没有符合条件的路由。";
    prefix: "Prefix", "前缀";
    action: "Action", "动作";
    auth: "Auth", "认证";
    sign: "Sign", "签名";
    credential: "Credential", "凭据";
    limits: "Limits", "限制";
    written_in: "Written in", "位置";
    result_pages: "Pages of the table", "表格分页";
    before: "Before", "上一页";
    after: "Next", "下一页";
    limit_body: "body ≤ {}", "请求体 ≤ {}";
    limit_flights: "{} at once", "并发 {}";
    limit_rate: "rate", "限速";
    explain: "Explain a request", "解释请求";
    explain_help: "What would happen to a request, and why. Nothing is sent; secrets are masked.", "查看一个请求会如何被处理及其原因。不会发送任何内容，密文会被遮盖。";
    explain_do: "Explain", "解释";
    method: "Method", "方法";
    url: "URL", "URL";
    headers: "Headers", "请求头";
    headers_help: "one a line, name: value", "每行一个，格式为 name: value";
    environment: "Environment", "环境";
    client: "Client", "客户端";
    from_address: "From address", "来源地址";
    as_the_request_says: "as the request says", "由请求决定";
    bad_question: "This cannot be explained.", "无法解释该请求。";
    routed: "routed", "已路由";
    refused: "refused", "已拒绝";
    project: "Project", "项目";
    route: "Route", "路由";
    goes_to: "Goes to", "发往";
    verdicts: "Verdicts", "判定";
    policy: "Policy", "策略";
    verdict: "Verdict", "结果";
    why: "Why", "原因";
    request_headers: "Headers towards the upstream", "发往上游的请求头";
    response_headers: "Headers towards the client", "返回客户端的响应头";
    change: "Change", "变更";
    header: "Header", "头部";
    value: "Value", "值";
    header_set: "set", "设置";
    header_added: "added", "追加";
    header_removed: "removed", "移除";
    signature: "Signature", "签名";
    base_string: "Base string, the token masked", "签名基串（令牌已遮盖）";
    candidates: "Routes that lost", "未选中的路由";
    lost_because: "Why it lost", "未选中原因";
    candidates_omitted: "Routes that have nothing to do with the path, not shown:", "与路径无关、未显示的路由数：";
    ask_again: "Ask again", "再次查询";

    // Environments
    environments: "Environments", "环境";
    environments_help: "The green one serves whoever names no other. Choose another to have it serve from now on: the file of the project is edited in that one place.", "绿色的环境为未指定环境的请求提供服务。点击其他环境即可立即切换：只会修改项目配置文件中的这一处。";
    more_projects: "Projects that are not shown:", "未显示的项目数：";
    switch_to: "Make this the environment that serves by default", "设为默认生效的环境";
    switch_title: "Switch the environment", "切换环境";
    switch_means: "From now on every request to {} that names no environment is served by {} instead of {}. Requests under way are finished as they began. Nothing but this one value of the file is changed.", "从现在起，发往 {} 且未指定环境的请求将由 {} 提供服务，不再使用 {}。进行中的请求不受影响。配置文件中只修改这一个值。";
    switch_do: "Switch", "切换";
    cancel: "Cancel", "取消";
    switched: "The environment has been switched.", "环境已切换。";
    switched_next: "It is in effect.", "已立即生效。";
    not_switched: "The environment was not switched.", "环境没有切换。";
    switch_lost_next: "Somebody has edited the file meanwhile. Look at it, then try again.", "配置文件刚刚被他人修改，请查看后重试。";
    switch_by_hand_next: "Edit that line of the file by hand; it is live as soon as it is saved.", "请手动修改该行，保存后立即生效。";
    change_refused_next: "Nothing was changed.", "没有做任何修改。";
    unknown_project: "There is no such project", "项目不存在";
    unknown_project_next: "It may have been renamed. Look at the routes in force.", "项目可能已改名，请查看生效的路由。";
    put_browser: "Put a browser on …", "切换浏览器的环境…";
    put_browser_help: "Makes a link. The browser that opens it is on that environment until the time is over or it leaves; nobody else notices.", "生成一个链接。打开该链接的浏览器在有效期内使用所选环境，也可提前离开；其他人不受影响。";
    for_long: "For", "时长";
    on_host: "On the host", "主机";
    make_link: "Make the link", "生成链接";
    link_ready: "The link is ready", "链接已生成";
    link_open: "Open it in the browser that is meant. It holds no password, but whoever opens it is put on the environment.", "请在目标浏览器中打开。链接中不含密码，但任何打开它的浏览器都会切换环境。";
    open_here: "Open it in this browser", "在本浏览器中打开";
    stays_until: "On it until", "环境有效期至";
    link_until: "The link opens until", "链接有效期至";
    not_minted: "No link was made.", "没有生成链接。";

    // Routes that are made here
    add_route: "Add a route", "添加路由";
    edit_route: "Edit", "编辑";
    saved: "The change is saved and in effect.", "修改已保存并生效。";
    saved_undo: "Last changes, undo", "最近的修改与撤销";
    prefix_help: "whole path segments, such as /a1", "完整路径段，例如 /a1";
    upstream_help: "a URL, or the name of a group of the configuration", "URL，或配置中上游组的名称";
    payload: "Payload", "附加头部";
    payload_help: "one header a line, name: value; *** keeps what is stored", "每行一个头部，格式为 名称: 值；*** 表示保留已存的值";
    payload_line: "Line {} of the payload has no colon.", "附加头部第 {} 行缺少冒号。";
    other_keys: "These keys have no field here and stay as they are:", "以下键在此处没有对应字段，将保持不变：";
    operators_own: "This route stands in a file of the configuration that is edited by hand, not here:", "该路由位于手动维护的配置文件中，不能在此编辑：";
    preview: "What this would change", "此修改的影响";
    preview_do: "Preview", "预览";
    change_it: "Change it", "返回修改";
    save: "Save", "保存";
    requests_tried: "Requests tried", "回放请求数";
    requests_differ: "Would go otherwise", "结果不同";
    nothing_differs: "None of the last requests would go otherwise.", "最近的请求均不受影响。";
    routes_differ: "Routes that differ", "有变化的路由";
    recent_requests: "Of the last requests", "最近请求数";
    request: "Request", "请求";
    times: "Times", "次数";
    as_now: "Now", "现在";
    then: "Then", "之后";
    route_added: "added", "新增";
    route_removed: "removed", "移除";
    route_changed: "changed", "修改";
    loses_authentication: "served without authentication", "不再需要认证";
    becomes_404: "no route any more (404)", "不再有路由（404）";
    becomes_405: "method not served any more (405)", "方法不再允许（405）";
    becomes_403: "forbidden (403)", "被禁止（403）";
    becomes_401: "authentication needed (401)", "需要认证（401）";
    becomes_refused: "refused", "被拒绝";
    becomes_served: "served, was refused", "由拒绝变为提供服务";
    other_refusal: "refused otherwise", "以其他方式拒绝";
    other_environment: "served by another environment", "由其他环境提供服务";
    goes_elsewhere: "goes elsewhere", "发往其他上游";
    gains_authentication: "authentication needed from now on", "今后需要认证";
    other_identity: "another identity", "身份不同";
    other_signature: "signed otherwise", "签名方式不同";
    other_sign_token: "signed with another token", "签名令牌不同";
    other_credential: "another credential", "凭据不同";
    other_headers: "other headers", "头部不同";
    other_settings: "other settings", "其他设置不同";
    route_not_held: "This route would not hold.", "该路由无法生效。";
    route_not_saved: "The change was not saved.", "修改没有保存。";
    route_not_saved_next: "Nothing was changed. Look at the route again.", "没有做任何修改，请重新查看该路由。";
    nothing_waits: "This preview is over", "预览已失效";
    nothing_waits_next: "It was saved already, or is older than fifteen minutes. Look at the route again.", "它已保存，或已超过十五分钟。请重新查看该路由。";
    no_such_route: "This route cannot be shown", "无法显示该路由";
    sign_token: "Sign token", "签名令牌";
    sign_token_help: "It can be replaced and is never shown again. While it is changed, the next one can be staged here first, given to the upstream, and then activated.", "令牌只能替换，不会再次显示。轮换时可先暂存新令牌，交给上游后再启用。";
    sign_token_new: "A new token, at least 31 characters", "新令牌，至少 31 个字符";
    sign_token_by_hand: "The token stands in the configuration itself, and is changed there.", "令牌写在配置中，请在配置中修改。";
    no_sign_token: "There is no token: the signature is over what everybody knows.", "没有令牌：签名仅基于公开信息。";
    token_state: "State", "状态";
    token_current: "signs", "使用中";
    token_next: "staged", "已暂存";
    token_previous: "previous", "上一个";
    age: "Age", "已使用";
    token_set: "Set", "设置";
    token_stage: "Stage", "暂存";
    token_generate: "Generate", "生成";
    token_stage_generated: "Generate and stage", "生成并暂存";
    token_activate: "Activate the staged one", "启用暂存的令牌";
    token_drop_next: "Forget the staged one", "删除暂存的令牌";
    token_rollback: "Back to the previous one", "恢复上一个令牌";
    token_drop_previous: "Forget the previous one", "删除上一个令牌";
    token_remove: "Remove all", "全部移除";
    token_changed: "The sign token has been changed.", "签名令牌已更改。";
    token_not_changed: "The sign token was not changed.", "签名令牌没有更改。";
    token_generated: "A sign token has been generated.", "已生成签名令牌。";
    token_generated_next: "Copy it now: it is shown this once.", "请立即复制：仅显示这一次。";
    token_once: "The new token", "新令牌";
    last_changes: "Last changes", "最近的修改";
    no_changes: "Nothing has been changed here so far.", "尚无修改。";
    who: "Who", "操作者";
    undo: "Undo", "撤销";
    undone: "The change has been undone.", "修改已撤销。";
    not_undone: "The change was not undone.", "修改没有撤销。";
    changed_since: "changed since", "此后又有修改";

    // Configuration
    reload: "Reload", "重载";
    no_file: "There is no file: this is a quick start from the command line.", "没有配置文件：由命令行快速启动。";
    diagnostics: "Diagnostics", "诊断";
    error: "error", "错误";
    warning: "warning", "警告";
    generations: "Generations", "配置代次记录";
    when: "When", "时间";
    outcome: "Outcome", "结果";
    cause: "Cause", "触发";
    what_changed: "What changed", "变更内容";
    changed_added: "routes added", "新增路由";
    changed_removed: "routes removed", "删除路由";
    changed_changed: "routes changed", "修改路由";
    changed_settings: "settings", "设置";
    changed_restart: "wait for a restart", "待重启生效";
    effective: "Effective configuration", "生效配置";
    effective_help: "Every value in force, defaults filled in, secrets masked, and where it was written.", "所有生效的值（含默认值，密文已遮盖）及其来源。";
    effective_not: "The files say something else than what is in force: the last edit was rejected, or is being read right now.", "文件内容与当前生效的配置不一致：最近的修改被拒绝，或正在读取。";
    filter_keys: "key, value or file", "键、值或文件";
    key: "Key", "键";
    origin: "Origin", "来源";
    default: "default", "默认值";
    more_keys: "More keys than are shown:", "未显示的键数：";

    // Log
    log_source: "Log", "日志类型";
    log_both: "both", "全部";
    log_access: "requests", "请求";
    log_process: "process", "进程";
    log_level: "Show", "级别";
    level_all: "everything", "全部";
    level_problems: "4xx, warnings and worse", "4xx、警告及以上";
    level_errors: "5xx and errors", "5xx 与错误";
    text: "Text", "文本";
    filter_log: "path, address, id, message", "路径、地址、ID、消息";
    log_state: "{} lines, the newest first; {} are kept in memory.", "{} 行，最新在前；内存中保留 {} 行。";
    access_off: "Requests are not logged: turn them on with", "请求日志未开启，可通过此项开启：";
    no_lines: "No line matches, so far.", "暂无符合条件的日志。";

    // Sessions
    sessions_help: "Browsers that are signed in. A session ends by itself after eight hours without use.", "已登录的浏览器。会话闲置八小时后自动结束。";
    session_revoked: "The session has been ended.", "会话已结束。";
    since: "Since", "登录时间";
    last_seen: "Last seen", "最近活动";
    address: "Address", "地址";
    browser: "Browser", "浏览器";
    this_one: "this one", "当前";
    revoke: "End", "结束";

    // Moments
    in_time: "in {}", "{}后";
    ago: "{} ago", "{}前";
    just_now: "just now", "刚刚";
    unit_second: "{} s", "{} 秒";
    unit_minute: "{} min", "{} 分钟";
    unit_hour: "{} h", "{} 小时";
    unit_day: "{} d", "{} 天";
}

impl Words {
    /// What a browser wants: the cookie `cs_lang`, else `accept-language`, else English.
    pub fn of(headers: &HeaderMap) -> &'static Self {
        let chosen = cookie(headers).and_then(Self::coded);
        chosen.unwrap_or_else(|| if prefers_chinese(headers) { &ZH } else { &EN })
    }

    /// By its code, as the cookie and the link have it.
    pub fn coded(code: &str) -> Option<&'static Self> {
        [&EN, &ZH].into_iter().find(|words| words.code == code)
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == "cs_lang").map(|(_, value)| value)
}

/// Puts the values where the `{}` are.
pub fn fill(pattern: &str, values: &[&str]) -> String {
    let mut values = values.iter();
    let mut parts = pattern.split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(values.next().copied().unwrap_or_default());
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(pairs: &[(&'static str, &'static str)]) -> &'static str {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        Words::of(&headers).code
    }

    #[test]
    fn the_browser_chooses_the_language_and_a_person_has_the_last_word() {
        assert_eq!(language(&[]), "en");
        assert_eq!(language(&[("accept-language", "zh-CN,zh;q=0.9,en;q=0.8")]), "zh");
        assert_eq!(language(&[("accept-language", "en-US,en;q=0.9,zh-CN;q=0.8")]), "en");
        assert_eq!(language(&[("accept-language", "de, zh-TW;q=0.5")]), "zh");
        assert_eq!(language(&[("accept-language", "de;q=x, *")]), "en");
        assert_eq!(language(&[("accept-language", "zh"), ("cookie", "a=b; cs_lang=en")]), "en");
        assert_eq!(language(&[("cookie", "cs_lang=zh")]), "zh");
        assert_eq!(language(&[("cookie", "cs_lang=<script>")]), "en");
    }

    #[test]
    fn the_words_of_the_interface_are_kept() {
        assert_eq!(
            [EN.add_account, EN.login, EN.manual_callback, EN.submit],
            ["Add Account", "Login", "Manual Callback", "Submit"]
        );
        assert_eq!(
            [EN.valid, EN.expiring, EN.expired, EN.resting, EN.needs_login],
            ["valid", "expiring", "expired", "resting", "needs_login"]
        );
        assert_eq!([ZH.add_account, ZH.login, ZH.manual_callback, ZH.submit], ["添加账户", "登录", "手动回调", "提交"]);
    }

    #[test]
    fn both_languages_say_something_and_take_the_same_values() {
        for (name, english, chinese) in ALL {
            assert!(!english.is_empty() && !chinese.is_empty(), "{name}");
            assert_eq!(english.matches("{}").count(), chinese.matches("{}").count(), "{name}");
            assert!(
                !english.contains(['<', '>', '&']) && !chinese.contains(['<', '>', '&']),
                "{name} is text, not HTML"
            );
        }
    }

    #[test]
    fn values_take_their_places() {
        assert_eq!(fill("a {} b {}", &["1", "2"]), "a 1 b 2");
        assert_eq!(fill("{}", &["{}"]), "{}");
        assert_eq!(fill("none", &["1"]), "none");
    }
}
