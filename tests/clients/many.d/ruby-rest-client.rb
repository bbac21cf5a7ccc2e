require "rest-client"

puts RestClient.post(ENV["UPLOAD_URL"], client_id: ENV["CLIENT_ID"], client_token: ENV["CLIENT_TOKEN"], store_duration: "7D",
                                        image: File.new(ENV["IMAGE"]))
