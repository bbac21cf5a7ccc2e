use strict;
use HTTP::Request::Common;
use LWP::UserAgent;

print LWP::UserAgent->new->request(POST $ENV{UPLOAD_URL}, Content_Type => "form-data", Content => [
    client_id => $ENV{CLIENT_ID}, client_token => $ENV{CLIENT_TOKEN}, store_duration => "7D", image => [$ENV{IMAGE}],
])->content;
