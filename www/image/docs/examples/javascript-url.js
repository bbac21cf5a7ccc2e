async function uploadImageFromUrl(imageUrl, clientId, clientToken, duration) {
  const formData = new FormData();
  formData.append('client_id', clientId);
  formData.append('client_token', clientToken);
  formData.append('store_duration', duration);
  formData.append('image_url', imageUrl);

  try {
    const response = await fetch('@PUBLIC_URL@/image/v2/', {
      method: 'POST',
      body: formData
    });
    return await response.json();
  } catch (error) {
    console.error('Error:', error);
    return { error: error.message };
  }
}

// Example usage
uploadImageFromUrl(
  'https://example.com/image.jpg',
  '@CLIENT_ID@',
  '@CLIENT_TOKEN@',
  '@FIRST_DURATION@'
).then(result => {
  if (result.status === 'success') {
    console.log('Upload successful!');
    console.log('Image URL:', result.url);
    console.log('Expires at:', result.expires_at);
  } else {
    console.error('Upload failed:', result.error || 'Unknown error');
  }
});
