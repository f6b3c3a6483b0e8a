"""Makes cmyk.jpg, 40x24: red on the left half, white on the right, in printers' colors. Needs Pillow."""

from pathlib import Path

from PIL import Image

image = Image.new("CMYK", (40, 24), (0, 0, 0, 0))
image.paste((0, 255, 255, 0), (0, 0, 20, 24))
image.save(Path(__file__).with_name("cmyk.jpg"), quality=95)
