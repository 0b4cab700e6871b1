"""Groups that must stay together: those of products, equal and near-equal images."""

from unidiff_cli.data import duplicates


def test_groups_join_products_contents_and_pairs():
    products = ["a", None, "b", None, None, "c", ""]
    contents = ["1", "1", "2", "3", "2", "4", "5"]
    names = duplicates.group_names(products, contents, [(3, 4)])
    assert names == ["a", "a", "b", "b", "b", "c", "5"]
