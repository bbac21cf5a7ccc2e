use Mojo::UserAgent;

print Mojo::UserAgent->new->post($ENV{UPLOAD_URL} => form => {
    client_id => $ENV{CLIENT_ID}, client_token => $ENV{CLIENT_TOKEN}, store_duration => "7D", image => { file => $ENV{IMAGE} },
})->result->body;
