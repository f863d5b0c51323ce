<?php

// php verifiers/php/test.php

declare(strict_types=1);

use Countersign\Refused;
use Countersign\Verifier;

require __DIR__ . '/Countersign.php';

const TOKEN = '0123456789abcdef0123456789abcde';
const NOW = 1763740800000;

// The largest stamp is larger than an integer of this language: it is read as text.
$text = (string) file_get_contents(__DIR__ . '/../../tests/vectors/sign.json');
$vectors = json_decode((string) preg_replace('/"stamp": ([0-9]+)/', '"stamp": "$1"', $text), true, 512, JSON_THROW_ON_ERROR)['vectors'];

$checks = 0;

function check(bool $holds, string $what): void
{
    global $checks;
    $checks++;
    if (!$holds) {
        fwrite(STDERR, "FAILED: {$what}\n");
        exit(1);
    }
}

/** @param array<string, mixed> $v */
function asRequest(array $v): array
{
    $headers = ['X-Kms-User' => $v['user'], 'X-Kms-Username' => $v['username_encoded'], 'X-Kms-Stamp' => $v['stamp'],
        'X-Kms-Appid' => $v['app_id'], 'X-Kms-Project' => $v['project']];
    $headers += $v['scheme'] === 'rfc9421'
        ? ['Signature-Input' => $v['signature_input'], 'Signature' => $v['signature'], 'Host' => $v['authority']]
        : ['X-Kms-Sign' => $v['sign']];
    $query = $v['query'] ?? '';
    return [$v['method'] ?? 'GET', ($v['path'] ?? '/') . ($query === '' ? '' : "?{$query}"), $headers];
}

function verifier(array $v, array $changes = []): Verifier
{
    $options = ['scheme' => $v['scheme'], 'tokens' => [$v['token']], 'clock' => static fn (): float => (int) $v['stamp'] / 1000];
    return new Verifier(...array_replace($options, $changes));
}

function refused(callable $call): bool
{
    try {
        $call();
    } catch (Refused) {
        return true;
    }
    return false;
}

function usable(array $v): bool
{
    return preg_match('/^.{31,}$/us', $v['token'] ?? '') === 1 && strlen($v['stamp']) === 13;
}

check(count($vectors) >= 1000, 'a thousand vectors');
$accepted = 0;
$unsigned = ['user-stamp' => ['Username', 'Appid', 'Project'], 'user-project-stamp' => ['Username', 'Appid'], 'user-project-appid-stamp' => ['Username']];
foreach ($vectors as $at => $v) {
    $claims = ['user' => $v['user'], 'username' => $v['username_encoded'], 'project' => $v['project'], 'appId' => $v['app_id'], 'stamp' => $v['stamp']]
        + array_intersect_key($v, array_flip(['method', 'authority', 'path', 'query']));
    $claims['parameters'] = substr($v['signature_input'] ?? '', strlen('countersign='));
    $expected = $v['sign'] ?? substr($v['signature'], strlen('countersign=:'), -1);
    check(Countersign\signature($v['scheme'], $v['token'] ?? '', $claims) === $expected, json_encode($v));
    if (!usable($v)) {
        continue;
    }
    [$method, $target, $headers] = asRequest($v);
    $identity = verifier($v, ['project' => $v['project'], 'appId' => $v['app_id']])->verify($method, $target, $headers);
    check($identity->user === $v['user'] && $identity->name === $v['username'], json_encode($v));
    $accepted++;
    if ($at % 25 !== 0) {
        continue;
    }
    foreach ($headers as $name => $value) {
        if (in_array(substr($name, 6), $unsigned[$v['scheme']] ?? [], true)) {
            continue;
        }
        for ($bit = 0; $bit < strlen($value) * 8; $bit++) {
            $changed = $value;
            $changed[intdiv($bit, 8)] = chr(ord($value[intdiv($bit, 8)]) ^ (1 << $bit % 8));
            if ($name === 'Host' && strtolower($changed) === strtolower($value)) {
                continue;
            }
            $wrong = [$name => $changed] + $headers;
            check(refused(fn () => verifier($v)->verify($method, $target, $wrong)), "{$name}: {$changed}");
        }
    }
    if (isset($v['method'])) {
        check(refused(fn () => verifier($v)->verify("{$method}X", $target, $headers)), 'another method');
        check(refused(fn () => verifier($v)->verify($method, "{$target}x", $headers)), 'another target');
    }
}
check($accepted > 700, 'usable vectors');

$plain = ['scheme' => 'user-project-stamp', 'user' => 'dev@example.com', 'project' => 'demo', 'app_id' => '1001', 'stamp' => (string) NOW,
    'token' => TOKEN, 'username_encoded' => 'Dev'];
$plain['sign'] = Countersign\signature($plain['scheme'], TOKEN, ['user' => $plain['user'], 'project' => 'demo', 'stamp' => $plain['stamp'], 'appId' => '1001']);
$turned = static fn (array $change, array $options = []): bool => refused(fn () => verifier($plain, $options)->verify(...asRequest($change + $plain)));
$clock = static fn (float $off): array => ['clock' => static fn (): float => NOW / 1000 + $off];
foreach ([-300, 0, 300] as $off) {
    check(!$turned([], $clock($off)), "{$off} seconds");
}
foreach ([-300.1, 300.1, NAN] as $off) {
    check($turned([], $clock($off)), "{$off} seconds");
}
check($turned([], ['project' => 'other']) && $turned([], ['appId' => '1002']), 'another project, another app id');
check($turned([], ['tokens' => ['another-token-0123456789abcdef0123']]), 'another token');
check(!$turned([], ['tokens' => ['another-token-0123456789abcdef0123', TOKEN]]), 'two tokens');
foreach (['demo', '', strtoupper($plain['sign']), "{$plain['sign']}, x"] as $sign) {
    check($turned(['sign' => $sign]), "sign {$sign}");
}
foreach (['', '0', '176374080000', '01763740800000', NOW . "\n", NOW . ', ' . NOW] as $stamp) {
    check($turned(['stamp' => $stamp]), "stamp {$stamp}");
}
foreach (['Dev@example.com', "d\u{e9}v@example.com", 'dev@example.com, eve@example.com'] as $user) {
    check($turned(['user' => $user]), "user {$user}");
}
[$method, $target, $headers] = asRequest($plain);
foreach (array_keys($headers) as $name) {
    $missing = array_diff_key($headers, [$name => 1]);
    check(refused(fn () => verifier($plain)->verify($method, $target, $missing)), "without {$name}");
    check(refused(fn () => verifier($plain)->verify($method, $target, $headers + [strtoupper($name) => 'x'])), "{$name} twice");
}
$seen = [];
$memory = static function (string $sign, int $ttl) use (&$seen): bool {
    $new = !isset($seen[$sign]);
    $seen[$sign] = $ttl;
    return $new;
};
check(!$turned([], ['isNew' => $memory]) && $turned([], ['isNew' => $memory]) && max($seen) >= 300, 'replayed');
check(!$turned(['sign' => 'demo', 'stamp' => '0'], ['demo' => true]), 'the demonstration signature, switched on');
foreach ([[], ['short']] as $tokens) {
    try {
        verifier($plain, ['tokens' => $tokens]);
        check(false, 'no token worth the name');
    } catch (InvalidArgumentException) {
    }
}
$_SERVER = ['REQUEST_METHOD' => 'GET', 'REQUEST_URI' => '/'];
foreach ($headers as $name => $value) {
    $_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] = $value;
}
check(verifier($plain)->verifyGlobals()->user === 'dev@example.com', 'of the request that is being served');
$ask = ['HTTP_ORIGIN' => 'https://demo.example.com', 'REQUEST_METHOD' => 'OPTIONS', 'HTTP_ACCESS_CONTROL_REQUEST_METHOD' => 'GET'];
check(Countersign\localCors(['https://demo.example.com'], false, $ask) === [], 'CORS is off');
check(Countersign\localCors(['https://demo.example.com'], true, ['HTTP_ORIGIN' => 'https://evil.example'] + $ask) === [], 'CORS is for those listed');
check(isset(Countersign\localCors(['https://demo.example.com'], true, $ask)['access-control-allow-headers']), 'CORS');
echo "{$checks} checks hold\n";
