/** The tables of the small world: countries, opposites, the calendar, words, names, and what lies outside. */

const pairs = (text: string): ReadonlyArray<readonly [string, string]> =>
  text
    .trim()
    .split(/\s*,\s*/)
    .map((pair) => {
      const [left, right] = pair.split("=")
      if (left === undefined || right === undefined) throw new Error(`not a pair: ${pair}`)
      return [left, right] as const
    })

const words = (text: string): ReadonlyArray<string> => [...new Set(text.trim().split(/\s+/))]

export const capitals = pairs(`France=Paris, Germany=Berlin, Italy=Rome, Spain=Madrid, Portugal=Lisbon, Japan=Tokyo,
  China=Beijing, India=New Delhi, Egypt=Cairo, Kenya=Nairobi, Norway=Oslo, Sweden=Stockholm, Finland=Helsinki,
  Denmark=Copenhagen, Poland=Warsaw, Austria=Vienna, Greece=Athens, Hungary=Budapest, Ireland=Dublin, Canada=Ottawa,
  Mexico=Mexico City, Brazil=Brasilia, Peru=Lima, Chile=Santiago, Cuba=Havana, Russia=Moscow, Turkey=Ankara, Iran=Tehran,
  Iraq=Baghdad, Thailand=Bangkok, Vietnam=Hanoi, Nepal=Kathmandu, Australia=Canberra, New Zealand=Wellington,
  Belgium=Brussels, Switzerland=Bern, Ukraine=Kyiv, Romania=Bucharest, Bulgaria=Sofia, Croatia=Zagreb, Argentina=Buenos Aires,
  Colombia=Bogota, Morocco=Rabat, Iceland=Reykjavik, Netherlands=Amsterdam, Estonia=Tallinn, Latvia=Riga, Lithuania=Vilnius,
  Serbia=Belgrade, Slovenia=Ljubljana, South Korea=Seoul, Indonesia=Jakarta, Philippines=Manila, Ghana=Accra,
  Ethiopia=Addis Ababa, Tunisia=Tunis, Algeria=Algiers, Jamaica=Kingston, Uruguay=Montevideo, England=London,
  United Kingdom=London, United States=Washington`)

export const opposites =
  pairs(`hot=cold, big=small, tall=short, fast=slow, happy=sad, light=dark, open=closed, day=night,
  old=young, rich=poor, strong=weak, hard=soft, early=late, high=low, full=empty, wet=dry, clean=dirty, good=bad, up=down,
  left=right, in=out, on=off, first=last, near=far, loud=quiet, easy=difficult, cheap=expensive, thick=thin, wide=narrow,
  deep=shallow, true=false, yes=no, black=white, begin=end, push=pull, win=lose, buy=sell, love=hate,
  give=take, arrive=leave, remember=forget, always=never, before=after, above=below, inside=outside, friend=enemy,
  question=answer, summer=winter, north=south, east=west, start=stop, front=back, top=bottom, safe=dangerous,
  sweet=sour, smooth=rough, sharp=blunt, awake=asleep`)

export const weekdays = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
export const months = words("January February March April May June July August September October November December")
export const monthDays = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
export const ordinals = words("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")

export const spellingWords =
  words(`apple banana orange lemon grape cherry peach melon table chair window garden river mountain
 forest ocean desert bridge castle school teacher student doctor nurse farmer driver pilot engine rocket planet star moon
 cloud snow storm thunder spring autumn family brother mother father kitchen bottle basket
 candle mirror pencil paper circle triangle music guitar piano violin drum dance theater cinema camera
 picture painting colour silver golden purple yellow green brown gentle clever simple water bread butter cheese pepper sugar
 coffee tea milk honey onion potato tomato carrot rabbit tiger monkey elephant giraffe horse sheep goat chicken eagle parrot
 dolphin whale shark turtle lizard snake spider butterfly keyboard cat dog fish
 bird mouse lion bear wolf fox frog bee ant cow pig duck house door floor wall roof room bed lamp clock page 
 ball toy car bus train boat plane bike road town village island beach lake hill field tree flower leaf
 grass stone sand fire wind ice sun earth hand foot head eye ear nose mouth arm leg heart blood bone skin hair tooth shirt
 shoe hat coat dress sock ring box cup plate knife fork spoon glass oven soup cake pie rice meat salt egg bean corn nut
 berry plum pear kiwi mango king queen prince knight dragon magic dream sleep walk jump swim climb sing laugh smile
 build break carry throw catch planet pocket ticket
 hammer ladder needle button carpet pillow blanket curtain helmet jacket saddle wagon tunnel harbor anchor sailor
 pirate treasure diamond copper marble velvet cotton feather whistle trumpet library museum hospital station airport`)

export const names =
  words(`Ada Alan Grace Linus Maria Anna Peter Paul Mary John Lucy Emma Noah Liam Olivia Mia Leo Max Ben Tom Sam
  Kate Jane Rosa Ivan Omar Lena Nina Oscar Hugo Clara Alice Bob Carol Dave Eve Frank Heidi Judy Mallory Nova Luna Atlas Orion
  Echo Iris Juno Zoe Felix Otto Ruby Jasper Hazel Milo Nora Theo Vera Wanda Yuri Zelda Marvin Robin Pixel Sage Kira Amir
  Priya Kenji Yuki Chen Lars Ingrid Mateo Diego Carmen Pablo Ines Tariq Leila Fatima Kofi Amara`)

export const topics =
  words(`love history music cats dogs politics football cooking philosophy poetry space dinosaurs chess
  movies painting stocks bitcoin gardening astronomy biology chemistry physics economics religion art fashion travel health
  medicine law robots ghosts dragons volcanoes pirates coffee wine beer pasta pizza tennis golf cars trains planes ships
  elections climate oceans insects whales opera jazz theatre novels television games sleep exercise yoga marriage money taxes
  insurance wars kings castles pyramids vikings samurai magic astrology psychology`)

export const unknownPlaces =
  words(`Narnia Atlantis Mordor Gondor Wakanda Oz Utopia Genovia Zubrowka Sokovia Latveria Ruritania
  Elbonia Krakozhia Freedonia Florin Guilder Panem Westeros Avalon Camelot Xanadu Lilliput Brobdingnag Neverland Hyrule Tatooine
  Arrakis Zamunda Sylvania`)
