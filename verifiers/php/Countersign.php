<?php

declare(strict_types=1);

/**
 * Verifies the requests that Countersign signs. One file, PHP 8.0 or later, no dependency: copy it.
 *
 *     $verifier = new Countersign\Verifier('user-project-stamp', [getenv('SIGN_TOKEN')], project: 'demo');
 *     try {
 *         $identity = $verifier->verifyGlobals();          // of the request that is being served
 *     } catch (Countersign\Refused) {
 *         http_response_code(401);
 *         exit;
 *     }
 *
 * What is checked, in this order: each header there; the demonstration signature is refused; the user in lower-case ASCII; a
 * stamp of 13 digits within the window; project and app id as expected; the signature, in constant time, under each token;
 * and, with a memory for replays, that it has not been seen before. (PHP joins headers that come twice with a comma, which
 * no checked value may hold.)
 */

namespace Countersign;

const SCHEMES = ['user-stamp', 'user-project-stamp', 'user-project-appid-stamp', 'hmac-sha256', 'rfc9421'];

/** Why a request is not accepted. For the log, not for the client. */
final class Refused extends \Exception
{
}

/** Who calls. */
final class Identity
{
    public function __construct(
        public string $user,
        public string $name,
        public string $project,
        public string $appId,
        public int $stamp,
    ) {
    }
}

/**
 * What the signer computes, as text. `username` as it travels; `query` without `?`; `parameters` of rfc9421 alone.
 *
 * @param array<string, string> $claims user, username, project, appId, stamp, method, authority, path, query, prefix, parameters
 */
function signature(string $scheme, string $token, array $claims): string
{
    $c = $claims + array_fill_keys(['username', 'method', 'authority', 'path', 'query', 'parameters'], '') + ['prefix' => 'x-kms-'];
    if ($scheme === 'hmac-sha256') {
        $base = "countersign-hmac-sha256-1\n";
        foreach (['method', 'path', 'query', 'user', 'username', 'project', 'appId', 'stamp'] as $name) {
            $base .= strlen($c[$name]) . ":{$c[$name]}\n";
        }
        return hash_hmac('sha256', $base, $token);
    }
    if ($scheme === 'rfc9421') {
        $base = "\"@method\": {$c['method']}\n\"@authority\": {$c['authority']}\n\"@path\": {$c['path']}\n\"@query\": ?{$c['query']}\n";
        foreach (['user' => 'user', 'username' => 'username', 'stamp' => 'stamp', 'appid' => 'appId', 'project' => 'project'] as $header => $name) {
            $base .= "\"{$c['prefix']}{$header}\": {$c[$name]}\n";
        }
        return base64_encode(hash_hmac('sha256', $base . "\"@signature-params\": {$c['parameters']}", $token, true));
    }
    $middle = match ($scheme) {
        'user-stamp' => '',
        'user-project-stamp' => $c['project'],
        'user-project-appid-stamp' => $c['project'] . $c['appId'],
    };
    return hash('sha256', $c['user'] . $middle . $c['stamp'] . $token);
}

/** Names a token in `keyid` of rfc9421, and tells nothing of it. */
function keyId(string $token): string
{
    return substr(hash('sha256', "countersign-key:{$token}"), 0, 16);
}

/** What an upstream expects. */
final class Verifier
{
    private string $input;
    /** @var callable(): float */
    private $clock;
    /** @var null|callable(string, int): bool */
    private $isNew;

    /**
     * @param list<string> $tokens the sign token; two while it is being replaced
     * @param ?string $project null accepts any
     * @param ?string $appId null accepts any
     * @param int $window seconds that a stamp may be old or ahead
     * @param null|callable(string, int): bool $isNew memory for replays: whether a signature has not been seen, given the
     *     seconds for which it has to be remembered; e.g. fn ($sign, $ttl) => apcu_add("countersign:$sign", 1, $ttl)
     * @param bool $demo accept the demonstration signature of local debugging; only on a developer's own machine
     * @param null|callable(): float $clock Unix time in seconds
     */
    public function __construct(
        private string $scheme,
        private array $tokens,
        private ?string $project = null,
        private ?string $appId = null,
        private int $window = 300,
        private string $prefix = 'x-kms-',
        ?callable $isNew = null,
        private bool $demo = false,
        ?callable $clock = null,
    ) {
        if (!in_array($scheme, SCHEMES, true)) {
            throw new \InvalidArgumentException('the schemes are ' . implode(', ', SCHEMES));
        }
        foreach ($tokens ?: [''] as $token) {
            if (!is_string($token) || preg_match('/^.{31,}$/us', $token) !== 1) {
                throw new \InvalidArgumentException('a sign token has at least 31 characters');
            }
        }
        $this->prefix = strtolower($prefix);
        $this->isNew = $isNew;
        $this->clock = $clock ?? static fn (): float => microtime(true);
        $listed = '("@method" "@authority" "@path" "@query"';
        foreach (['user', 'username', 'stamp', 'appid', 'project'] as $name) {
            $listed .= " \"{$this->prefix}{$name}\"";
        }
        // The only form that the signer gives to `signature-input`.
        $this->input = '/^countersign=(' . preg_quote("{$listed})", '/') . ';created=([0-9]{1,12});expires=([0-9]{1,12})'
            . ';nonce="[A-Za-z0-9-]{1,64}";keyid="([0-9a-f]{16})";alg="hmac-sha256";tag="countersign")$/D';
    }

    /**
     * The request that is being served.
     *
     * @throws Refused
     */
    public function verifyGlobals(): Identity
    {
        $headers = [];
        foreach ($_SERVER as $name => $value) {
            if (is_string($name) && str_starts_with($name, 'HTTP_')) {
                $headers[strtr(substr($name, 5), '_', '-')] = (string) $value;
            }
        }
        return $this->verify((string) $_SERVER['REQUEST_METHOD'], (string) $_SERVER['REQUEST_URI'], $headers);
    }

    /**
     * @param string $target as it was received: path and query
     * @param array<string, string> $headers by name, in any case
     * @throws Refused
     */
    public function verify(string $method, string $target, array $headers, ?string $authority = null): Identity
    {
        $fields = $this->fields($headers);
        $identity = new Identity($fields['user'], rawurldecode($fields['username']), $fields['project'], $fields['appid'], (int) $fields['stamp']);
        $sign = $fields['sign'] ?? '';
        if ($sign === 'demo') {
            return $this->demo ? $identity : throw new Refused('the demonstration signature proves nothing');
        }
        if (preg_match('/^[\x21-\x2b\x2d-\x40\x5b-\x7e]*$/D', $fields['user']) !== 1) {
            throw new Refused('the user is not in lower-case ASCII');
        }
        if (preg_match('/^[1-9][0-9]{12}$/D', $fields['stamp']) !== 1) {
            throw new Refused('the stamp is not 13 digits');
        }
        $now = ($this->clock)();
        if (!(abs($now - $identity->stamp / 1000) <= $this->window)) {
            throw new Refused('the stamp is outside the window');
        }
        if ($this->project !== null && $this->project !== $identity->project) {
            throw new Refused('the request is for another project');
        }
        if ($this->appId !== null && $this->appId !== $identity->appId) {
            throw new Refused('the request is for another app id');
        }
        [$path, $query] = explode('?', $target, 2) + [1 => ''];
        $claims = [
            'user' => $fields['user'], 'username' => $fields['username'], 'project' => $fields['project'],
            'appId' => $fields['appid'], 'stamp' => $fields['stamp'], 'method' => $method, 'path' => $path, 'query' => $query,
            'authority' => strtolower($authority ?? $fields['host'] ?? ''), 'prefix' => $this->prefix,
        ];
        if ($this->scheme === 'rfc9421') {
            $sign = $this->message($fields, $claims, $now);
        } elseif (!$this->holds($sign, $claims)) {
            throw new Refused('the signature is wrong');
        }
        $left = (int) ceil($identity->stamp / 1000 + $this->window - $now) + 1;
        if ($this->isNew !== null && !($this->isNew)($sign, $left)) {
            throw new Refused('the signature has been seen before');
        }
        return $identity;
    }

    /**
     * The headers of the signature.
     *
     * @param array<string, string> $headers
     * @return array<string, string>
     */
    private function fields(array $headers): array
    {
        $wanted = [];
        foreach (['user', 'username', 'stamp', 'appid', 'project', 'sign'] as $name) {
            $wanted[$this->prefix . $name] = $name;
        }
        if ($this->scheme === 'rfc9421') {
            $wanted += ['signature-input' => 'input', 'signature' => 'signature', 'host' => 'host'];
        }
        $fields = [];
        foreach ($headers as $name => $value) {
            $key = $wanted[strtolower((string) $name)] ?? null;
            if ($key !== null) {
                if (isset($fields[$key])) {
                    throw new Refused(strtolower((string) $name) . ' comes twice');
                }
                $fields[$key] = trim($value, " \t");
            }
        }
        $optional = $this->scheme === 'rfc9421' ? ['host', 'sign'] : [];
        if ($this->demo && ($fields['sign'] ?? '') === 'demo') {
            $optional = ['host', 'input', 'signature'];
        }
        foreach ($wanted as $name => $key) {
            if (!isset($fields[$key]) && !in_array($key, $optional, true)) {
                throw new Refused("there is no {$name}");
            }
        }
        return $fields;
    }

    /**
     * Every token is tried, whatever the first one says.
     *
     * @param array<string, string> $claims
     */
    private function holds(string $sign, array $claims): bool
    {
        $found = false;
        foreach ($this->tokens as $token) {
            $found = hash_equals(signature($this->scheme, $token, $claims), $sign) || $found;
        }
        return $found;
    }

    /**
     * @param array<string, string> $fields
     * @param array<string, string> $claims
     */
    private function message(array $fields, array $claims, float $now): string
    {
        $isInput = preg_match($this->input, $fields['input'], $input) === 1;
        $isSign = preg_match('/^countersign=:([A-Za-z0-9+\/]{43}=):$/D', $fields['signature'], $sign) === 1;
        if (!$isInput || !$isSign) {
            throw new Refused("signature-input is not the signer's");
        }
        [, $parameters, $created, $expires, $key] = $input;
        if ((int) $created !== intdiv((int) $claims['stamp'], 1000) || $now > (int) $expires + $this->window) {
            throw new Refused('created and stamp differ, or the signature has expired');
        }
        $known = false;
        foreach ($this->tokens as $token) {
            $known = hash_equals(keyId($token), $key) || $known;
        }
        if (!$known) {
            throw new Refused('the key is not known');
        }
        if (!$this->holds($sign[1], ['parameters' => $parameters] + $claims)) {
            throw new Refused('the signature is wrong');
        }
        return $sign[1];
    }
}

/**
 * For local debugging: what is added to the answer to a page of `origins`, so that it may call this server from a browser
 * with the headers of the demonstration signature. Nothing unless `enabled`; never enable it on a server that others reach.
 *
 *     foreach (Countersign\localCors($origins, enabled: true) as $name => $value) header("$name: $value");
 *     if ($_SERVER['REQUEST_METHOD'] === 'OPTIONS') { http_response_code(204); exit; }
 *
 * @param list<string> $origins
 * @param null|array<string, mixed> $server
 * @return array<string, string>
 */
function localCors(array $origins, bool $enabled = false, ?array $server = null): array
{
    $server ??= $_SERVER;
    $origin = (string) ($server['HTTP_ORIGIN'] ?? '');
    if (!$enabled || !in_array($origin, $origins, true)) {
        return [];
    }
    $added = ['access-control-allow-origin' => $origin, 'vary' => 'origin'];
    if ($server['REQUEST_METHOD'] !== 'OPTIONS' || !isset($server['HTTP_ACCESS_CONTROL_REQUEST_METHOD'])) {
        return $added;
    }
    return $added + [
        'access-control-allow-methods' => 'GET, HEAD, POST, PUT, PATCH, DELETE',
        'access-control-allow-headers' => 'content-type, x-kms-user, x-kms-username, x-kms-stamp, x-kms-appid, x-kms-project, x-kms-sign',
        'access-control-max-age' => '600',
        'access-control-allow-private-network' => 'true',
    ];
}
