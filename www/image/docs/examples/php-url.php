<?php
/**
 * Upload an image from URL to @HOST@
 *
 * @param string $imageUrl URL of the image to upload
 * @param string $clientId Your client ID
 * @param string $clientToken Your client token
 * @param string $duration Storage duration (@DURATION_LIST@)
 * @return array API response
 */
function uploadImageFromUrl($imageUrl, $clientId, $clientToken, $duration) {
    $url = "@PUBLIC_URL@/image/v2/";

    // Initialize cURL session
    $ch = curl_init();

    // Prepare form data
    $postFields = [
        'client_id' => $clientId,
        'client_token' => $clientToken,
        'store_duration' => $duration,
        'image_url' => $imageUrl
    ];

    // Set cURL options
    curl_setopt($ch, CURLOPT_URL, $url);
    curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
    curl_setopt($ch, CURLOPT_POST, true);
    curl_setopt($ch, CURLOPT_POSTFIELDS, $postFields);
    curl_setopt($ch, CURLOPT_TIMEOUT, 60);

    // Execute the request
    $response = curl_exec($ch);
    $httpCode = curl_getinfo($ch, CURLINFO_HTTP_CODE);

    // Check for errors
    if (curl_errno($ch)) {
        $result = [
            'error' => 'cURL Error: ' . curl_error($ch)
        ];
    } else if ($httpCode != 200) {
        $result = [
            'error' => "Request failed with status code {$httpCode}",
            'message' => $response
        ];
    } else {
        $result = json_decode($response, true);
    }

    // Close cURL session
    curl_close($ch);

    return $result;
}

// Example usage
$result = uploadImageFromUrl(
    'https://example.com/image.jpg',
    '@CLIENT_ID@',
    '@CLIENT_TOKEN@',
    '@FIRST_DURATION@'
);

// Display the result
if (isset($result['status']) && $result['status'] === 'success') {
    echo "Upload successful!\n";
    echo "Image URL: {$result['url']}\n";
    echo "Expires at: {$result['expires_at']}\n";
} else {
    echo "Upload failed: " . ($result['error'] ?? 'Unknown error') . "\n";
}
