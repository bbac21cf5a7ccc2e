<?php
require "GuzzleHttp/autoload.php";

echo (new GuzzleHttp\Client())->post(getenv("UPLOAD_URL"), ["multipart" => [
    ["name" => "client_id", "contents" => getenv("CLIENT_ID")],
    ["name" => "client_token", "contents" => getenv("CLIENT_TOKEN")],
    ["name" => "store_duration", "contents" => "7D"],
    ["name" => "image", "contents" => fopen(getenv("IMAGE"), "r")],
]])->getBody();
