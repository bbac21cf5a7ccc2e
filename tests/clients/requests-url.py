import requests


def upload_image_from_url(image_url, client_id, client_token, duration):
    """
    Upload an image from URL to CoreNexis CDN

    Args:
        image_url (str): URL of the image to upload
        client_id (str): Your client ID
        client_token (str): Your client token
        duration (str): Storage duration ('7D', '1M', '3M', or 'LTF')

    Returns:
        dict: API response
    """
    url = "https://cdn.corenexis.com/image/v2/"
    # Prepare form data
    data = {
        'client_id': client_id,
        'client_token': client_token,
        'store_duration': duration,
        'image_url': image_url
    }
    # Make the request
    response = requests.post(url, data=data)
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
    result = upload_image_from_url(
        image_url="https://example.com/image.jpg",
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
