"""A path or an address, and an address without what lets anybody in."""

import pytest

from unidiff_cli.addresses import file_path, scheme_of, without_secrets


@pytest.mark.parametrize(
    "address, scheme",
    [
        ("s3://bucket/shop", "s3"),
        ("HTTPS://shop.example/a.jpg", "https"),
        ("file:///shop/a.jpg", "file"),
        ("file:a.jpg", "file"),
        ("data:image/png;base64,xx", "data"),
        ("abfs://shop@account/a", "abfs"),
        ("simplecache::s3://bucket/shop", "simplecache"),
        ("C:\\shop\\a.jpg", ""),
        ("C://shop/a.jpg", ""),
        ("shop/a.jpg", ""),
        ("images: new/a.jpg", ""),
        ("", ""),
    ],
)
def test_an_address_has_a_scheme_and_a_path_has_none(address, scheme):
    assert scheme_of(address) == scheme


@pytest.mark.parametrize(
    "address, path",
    [
        ("file:///shop/a%20b.jpg", "/shop/a b.jpg"),
        ("file://localhost/shop/a.jpg", "/shop/a.jpg"),
        ("file:/shop/a.jpg", "/shop/a.jpg"),
        ("FILE:shop/a.jpg", "shop/a.jpg"),
        ("file:///shop/100%silk#1?.jpg", "/shop/100%silk#1?.jpg"),
        ("local:///shop", "/shop"),
    ],
)
def test_a_file_address_names_a_path(address, path):
    assert file_path(address) == path


def test_a_file_of_another_machine_is_refused():
    with pytest.raises(ValueError, match="another machine, nas"):
        file_path("file://nas/shop")


@pytest.mark.parametrize(
    "address, shown",
    [
        ("sftp://me:secret@host/shop", "sftp://host/shop"),
        ("s3://AKIA:p@ss@bucket/shop", "s3://bucket/shop"),
        ("abfs://shop@account/a", "abfs://shop@account/a"),
        ("az://shop/a.csv?sv=1&sig=abc%3D&se=2", "az://shop/a.csv?sv=1&sig=…&se=2"),
        ("https://x/a.jpg?X-Amz-Signature=ab&w=3", "https://x/a.jpg?X-Amz-Signature=…&w=3"),
        ("https://x/a.jpg?access_token=ab&id=1", "https://x/a.jpg?access_token=…&id=1"),
        ("https://x/a.jpg?AWSAccessKeyId=ab", "https://x/a.jpg?AWSAccessKeyId=…"),
        ("https://x/a.jpg?design=red&v=157", "https://x/a.jpg?design=red&v=157"),
        ("no way to https://x:y@z/a here", "no way to https://z/a here"),
    ],
)
def test_credentials_are_not_shown(address, shown):
    assert without_secrets(address) == shown
