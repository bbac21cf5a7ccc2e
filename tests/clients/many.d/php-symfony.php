<?php
require "Symfony/Component/HttpClient/autoload.php";
require "Symfony/Component/Mime/autoload.php";

$form = new Symfony\Component\Mime\Part\Multipart\FormDataPart([
    "client_id" => getenv("CLIENT_ID"),
    "client_token" => getenv("CLIENT_TOKEN"),
    "store_duration" => "7D",
    "image" => Symfony\Component\Mime\Part\DataPart::fromPath(getenv("IMAGE")),
]);
echo Symfony\Component\HttpClient\HttpClient::create()->request("POST", getenv("UPLOAD_URL"), [
    "headers" => $form->getPreparedHeaders()->toArray(),
    "body" => $form->bodyToIterable(),
])->getContent(false);
