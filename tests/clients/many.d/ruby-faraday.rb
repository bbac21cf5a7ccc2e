require "faraday"

connection = Faraday.new { |builder| builder.request(:multipart) && builder.adapter(:net_http) }
puts connection.post(ENV["UPLOAD_URL"], client_id: ENV["CLIENT_ID"], client_token: ENV["CLIENT_TOKEN"], store_duration: "7D",
                                        image: Faraday::UploadIO.new(ENV["IMAGE"], "image/jpeg")).body
