from benchmarks.evaluate import fresh
from benchmarks.train import in_memory

if __name__ == "__main__":
    for a in (
        ("clip-only", 64, 0, 0, 2),
        ("clip-only", 512, 64, 0, 1),
        ("joint", 64, 0, 0, 2),
        ("joint", 512, 64, 64, 1),
        ("clip-only", 4096, 64, 0, 0),
        ("joint", 4096, 64, 64, 0),
    ):
        print(a, fresh(in_memory, *a), flush=True)
