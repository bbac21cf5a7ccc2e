<?php
$curl = curl_init('@PUBLIC_URL@/image/v2/');
curl_setopt_array($curl, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_TIMEOUT => 60,
    CURLOPT_POSTFIELDS => [
        'client_id' => '@CLIENT_ID@',
        'client_token' => '@CLIENT_TOKEN@',
        'store_duration' => '@FIRST_DURATION@',
        'image' => new CURLFile('/path/to/image.jpg'),
    ],
]);
$body = curl_exec($curl);
$status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
if ($body === false || $status !== 200) {
    fwrite(STDERR, "Error $status: " . ($body ?: curl_error($curl)) . "\n");
    exit(1);
}
$reply = json_decode($body, true);
echo "Image URL: {$reply['url']}\nExpires at: {$reply['expires_at']}\n";
