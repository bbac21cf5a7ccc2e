require "net/http"

request = Net::HTTP::Post.new(URI(ENV["UPLOAD_URL"]))
request.set_form([["client_id", ENV["CLIENT_ID"]], ["client_token", ENV["CLIENT_TOKEN"]], %w[store_duration 7D],
                  ["image", File.open(ENV["IMAGE"])]], "multipart/form-data")
puts Net::HTTP.start(request.uri.host, request.uri.port) { |http| http.request(request) }.body
