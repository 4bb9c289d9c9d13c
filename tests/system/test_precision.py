"""The switches of float32 products: what they say inside a context, and that they are put back."""

from collections.abc import Iterator

import pytest
import torch

from ebm_cli.system.precision import Precision, ProductPrecision, recorded, use_full_precision

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def _switches() -> Iterator[None]:
    with ProductPrecision():
        yield


@pytest.mark.parametrize(("precision", "convolutions"), [("highest", "float32"), ("high", "tf32"), ("medium", "tf32")])
def test_context_sets_every_switch_and_puts_it_back(precision: Precision, convolutions: str) -> None:
    """A caller has TF32 for matrices and convolutions, and autocast on both kinds of devices."""
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.set_autocast_enabled("cuda", True)
    with torch.autocast("cpu"):
        before = recorded()
        assert before == ("high", "tf32", ("cpu", "cuda"))
        with ProductPrecision(precision, GPU):
            assert recorded() == (precision, convolutions, ())
            assert torch.backends.cuda.matmul.allow_tf32 == (precision != "highest")
            assert torch.backends.cudnn.allow_tf32 == (precision != "highest")
        assert recorded() == before
    torch.set_autocast_enabled("cuda", False)


def test_context_in_itself_puts_switches_back() -> None:
    high, before = ProductPrecision("high", GPU), recorded()
    with high:
        with ProductPrecision("highest"), high:
            assert recorded().products == "high"
        assert recorded() == ("high", "tf32", ())
    assert recorded() == before == ("highest", "float32", ())


def test_switches_that_were_set_apart_are_put_back_apart() -> None:
    """torch has no word for both then, and refuses to say one."""
    torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.rnn.fp32_precision = "tf32"
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        with pytest.raises(RuntimeError, match="mix"):
            read()
    before = recorded()
    assert (before.products[0], before.convolutions) == ("tf32", ("none", "tf32"))
    with ProductPrecision("medium"):
        assert recorded() == ("medium", "tf32", ())
    assert recorded() == before
    use_full_precision()
    assert recorded() == ("highest", "float32", ())
