import requests


def upload_image(file_path, client_id, client_token, duration):
    """
    Upload an image to @HOST@

    Args:
        file_path (str): Path to the local image file
        client_id (str): Your client ID
        client_token (str): Your client token
        duration (str): Storage duration (@DURATION_LIST@)

    Returns:
        dict: API response
    """
    url = "@PUBLIC_URL@/image/v2/"

    # Prepare form data
    files = {
        'image': open(file_path, 'rb')
    }
    data = {
        'client_id': client_id,
        'client_token': client_token,
        'store_duration': duration
    }

    # Make the request
    response = requests.post(url, files=files, data=data, timeout=60)

    # Check if the request was successful
    if response.status_code == 200:
        result = response.json()
        return result
    else:
        return {
            'error': f"Request failed with status code {response.status_code}",
            'message': response.text
        }


# Example usage
if __name__ == "__main__":
    result = upload_image(
        file_path="path/to/image.jpg",
        client_id="@CLIENT_ID@",
        client_token="@CLIENT_TOKEN@",
        duration="@FIRST_DURATION@"
    )

    print(f"Status: {result.get('status', 'error')}")
    if 'url' in result:
        print(f"Image URL: {result['url']}")
        print(f"Expires at: {result['expires_at']}")
    else:
        print(f"Error: {result.get('error', 'Unknown error')}")
