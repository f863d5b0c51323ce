<?php

// An upstream that verifies with verifiers/php: `php -S ADDRESS server.php`, tokens in TOKENS, separated by spaces. The first
// segment of the path says the scheme. Answers 200 with who calls as JSON, or 401.

declare(strict_types=1);

require __DIR__ . '/../../../verifiers/php/Countersign.php';

$scheme = explode('/', explode('?', (string) $_SERVER['REQUEST_URI'])[0])[1];
$tokens = explode(' ', (string) getenv('TOKENS'));
$verifier = new Countersign\Verifier($scheme, $tokens, project: 'demo', appId: '1001');
try {
    $identity = $verifier->verifyGlobals();
} catch (Countersign\Refused) {
    http_response_code(401);
    exit;
}
header('content-type: application/json');
echo json_encode(['user' => $identity->user, 'name' => $identity->name]);
