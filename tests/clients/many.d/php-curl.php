<?php
$curl = curl_init(getenv("UPLOAD_URL"));
curl_setopt($curl, CURLOPT_POSTFIELDS, [
    "client_id" => getenv("CLIENT_ID"),
    "client_token" => getenv("CLIENT_TOKEN"),
    "store_duration" => "7D",
    "image" => new CURLFile(getenv("IMAGE")),
]);
curl_exec($curl);
