<?php
// The upload contract as a careful PHP developer would write it: prepared statements, a persistent connection, one transaction for
// quota and row. Nothing here is durable: the ledger is opened with synchronous=OFF and no file is synced.
declare(strict_types=1);

const DURATIONS = ['7D' => ['d', '+7 days'], '1M' => ['m', '+1 month'], '3M' => ['mm', '+3 months']];
const TYPES = [IMAGETYPE_JPEG => 'jpg', IMAGETYPE_PNG => 'png', IMAGETYPE_GIF => 'gif', IMAGETYPE_WEBP => 'webp'];
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

function answer(int $status, array $body): never
{
    $json = json_encode($body, JSON_UNESCAPED_SLASHES);
    http_response_code($status);
    header('Content-Type: application/json');
    header('Content-Length: ' . strlen($json));
    header('Access-Control-Allow-Origin: *');
    header('Cache-Control: no-store');
    echo $json;
    exit;
}

function field(string $name): string
{
    $value = $_POST[$name] ?? '';
    return is_string($value) ? $value : '';
}

$docroot = $_SERVER['BENCH_DOCROOT'];
$id = field('client_id');
$token = field('client_token');
$duration = field('store_duration');
if ($id === '' || $token === '' || $duration === '') {
    answer(400, ['error' => 'Missing required parameters']);
}

$db = new PDO('sqlite:' . $_SERVER['BENCH_LEDGER'], null, null, [
    PDO::ATTR_PERSISTENT => true,
    PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
    PDO::ATTR_TIMEOUT => 5,
]);
$db->exec('PRAGMA synchronous = OFF');

$today = intdiv(time(), 86400);
$select = $db->prepare('SELECT client.key, token, daily_limit, max_size, coalesce(usage.uploads, 0) AS used
    FROM client LEFT JOIN usage ON usage.client = client.key AND usage.day = ? WHERE client.id = ?');
$select->execute([$today, $id]);
$client = $select->fetch(PDO::FETCH_ASSOC);
$select->closeCursor();
if ($client === false) {
    answer(403, ['error' => 'Invalid client ID']);
}
if (!hash_equals($client['token'], hash('sha256', $token))) {
    answer(403, ['error' => 'Invalid client token']);
}
if (!isset(DURATIONS[$duration])) {
    answer(400, ['error' => 'Invalid storage duration', 'allowed' => array_keys(DURATIONS)]);
}
if ($client['used'] >= $client['daily_limit']) {
    answer(429, ['error' => 'Daily upload limit reached']);
}

$file = $_FILES['image'] ?? null;
if ($file === null || !is_string($file['tmp_name']) || $file['error'] !== UPLOAD_ERR_OK) {
    answer(400, ['error' => 'Missing required parameters']);
}
if ($file['size'] > $client['max_size']) {
    answer(400, ['error' => 'File too large', 'max_size' => $client['max_size']]);
}
$info = @getimagesize($file['tmp_name']);
if ($info === false || !isset(TYPES[$info[2]])) {
    answer(400, ['error' => 'Invalid file type']);
}
if (max($info[0], $info[1]) > 32768 || $info[0] * $info[1] > 64_000_000) {
    answer(400, ['error' => 'Image dimensions too large']);
}

[$class, $life] = DURATIONS[$duration];
$now = new DateTimeImmutable('now', new DateTimeZone('UTC'));
$expiry = $now->setTime(0, 0)->modify($life);
$name = '';
for ($i = 0; $i < 10; $i++) {
    $name .= ALPHABET[random_int(0, 61)];
}
$day = $class . '/' . strtolower(substr($now->format('F'), 0, 2)) . $now->format('j');
$path = "$day/$name." . TYPES[$info[2]];
$directory = "$docroot/p/$day";
if (!is_dir($directory) && !@mkdir($directory, 0755, true) && !is_dir($directory)) {
    answer(500, ['error' => 'Failed to create directory']);
}

$db->exec('BEGIN IMMEDIATE');
$count = $db->prepare('INSERT INTO usage (client, day, uploads, bytes) VALUES (?, ?, 1, ?)
    ON CONFLICT (client, day) DO UPDATE SET uploads = uploads + 1, bytes = bytes + excluded.bytes RETURNING uploads');
$count->execute([$client['key'], $today, $file['size']]);
$used = $count->fetchColumn();
$count->closeCursor();
if ($used > $client['daily_limit']) {
    $db->exec('ROLLBACK');
    answer(429, ['error' => 'Daily upload limit reached']);
}
$db->prepare('INSERT INTO image (path, client, size, width, height, uploaded_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)')
    ->execute([$path, $client['key'], $file['size'], $info[0], $info[1], $now->getTimestamp(), $expiry->getTimestamp()]);
touch($file['tmp_name'], $expiry->getTimestamp() - 1);
if (!move_uploaded_file($file['tmp_name'], "$docroot/p/$path")) {
    $db->exec('ROLLBACK');
    answer(500, ['error' => 'Failed to save image']);
}
$db->exec('COMMIT');

header("X-RateLimit-Limit: {$client['daily_limit']}");
header('X-RateLimit-Remaining: ' . ($client['daily_limit'] - $used));
header('X-RateLimit-Reset: ' . ($today + 1) * 86400);
answer(200, [
    'status' => 'success',
    'url' => $_SERVER['BENCH_URL'] . "/p/$path",
    'expires_at' => $expiry->format('Y-m-d'),
]);
