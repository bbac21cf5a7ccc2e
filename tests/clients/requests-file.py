import requests


def upload_image(file_path, client_id, client_token, duration):
    """
    Upload an image to CoreNexis CDN

    Args:
        file_path (str): Path to the local image file
        client_id (str): Your client ID
        client_token (str): Your client token
        duration (str): Storage duration ('7D', '1M', '3M', or 'LTF')

    Returns:
        dict: API response
    """
    url = "https://cdn.corenexis.com/image/v2/"
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
    response = requests.post(url, files=files, data=data)
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
        client_id="client_3m_plan",
        client_token="8b5d24c7e3af9d87156a40b1c3e92f67",
        duration="7D"
    )
    print(f"Status: {result.get('status', 'error')}")
    if 'url' in result:
        print(f"Image URL: {result['url']}")
        print(f"Expires at: {result['expires_at']}")
    else:
        print(f"Error: {result.get('error', 'Unknown error')}")
